//! The pickle of a state dict: the opcodes that Python's pickler of protocol 2
//! puts out for an `OrderedDict` of tensors, its memo included.

use std::collections::HashMap;

use crate::dtype::DType;

const PROTO_2: [u8; 2] = [0x80, 2];
const GLOBAL: u8 = b'c';
const REDUCE: u8 = b'R';
const MARK: u8 = b'(';
const TUPLE: u8 = b't';
const EMPTY_TUPLE: u8 = b')';
const TUPLE_1: u8 = 0x85;
const TUPLE_2: u8 = 0x86;
const TUPLE_3: u8 = 0x87;
const UNICODE: u8 = b'X';
const PERSISTENT: u8 = b'Q';
const FALSE: u8 = 0x89;
const SET_ITEM: u8 = b's';
const SET_ITEMS: u8 = b'u';
const STOP: u8 = b'.';

/// Python sets the items of a dict in groups of so many.
const GROUP: usize = 1000;

/// Writes the pickle of one state dict.
pub(super) struct Pickler {
    pickle: Vec<u8>,
    /// Where the items of the unfinished group start, and how many they are.
    group: (usize, usize),
    memo: HashMap<String, u32>,
    memoized: u32,
}

impl Pickler {
    pub fn new() -> Pickler {
        let mut pickler = Pickler {
            pickle: PROTO_2.to_vec(),
            group: (0, 0),
            memo: HashMap::new(),
            memoized: 0,
        };
        pickler.empty_dict();
        pickler.memoize();
        pickler.group.0 = pickler.pickle.len();
        pickler
    }

    /// An item: the name, and a view of a storage from its start on.
    pub fn tensor(&mut self, name: &str, dtype: DType, shape: &[i64], storage: usize) {
        self.unicode(name);
        self.memoize();
        // torch gives its newer types no storage class of their own: their
        // storages are bytes, and the tensor says what they are.
        let class = dtype.storage_name();
        self.global(
            "torch._utils",
            match class {
                Some(_) => "_rebuild_tensor_v2",
                None => "_rebuild_tensor_v3",
            },
        );
        let numel: i64 = shape.iter().product();
        self.pickle.extend([MARK, MARK]);
        self.shared("s", "storage");
        match class {
            Some(class) => self.global("torch", class),
            None => self.global("torch.storage", "UntypedStorage"),
        }
        self.shared("k", &storage.to_string());
        self.shared("s", "cpu");
        self.int(match class {
            Some(_) => numel,
            None => numel * dtype.size() as i64,
        });
        self.pickle.push(TUPLE);
        self.memoize();
        self.pickle.push(PERSISTENT);
        self.int(0); // elements of the storage in front of it
        self.ints(shape);
        self.ints(&stride(shape));
        self.pickle.push(FALSE); // needs no gradient
        self.empty_dict(); // hooks
        self.memoize();
        if class.is_none() {
            self.global("torch", dtype.name());
        }
        self.pickle.push(TUPLE);
        self.memoize();
        self.pickle.push(REDUCE);
        self.memoize();

        self.group.1 += 1;
        if self.group.1 == GROUP {
            self.close_group();
        }
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.close_group();
        self.pickle.push(STOP);
        self.pickle
    }

    fn close_group(&mut self) {
        let (start, items) = self.group;
        match items {
            0 => {}
            1 => self.pickle.push(SET_ITEM),
            _ => {
                self.pickle.insert(start, MARK);
                self.pickle.push(SET_ITEMS);
            }
        }
        self.group = (self.pickle.len(), 0);
    }

    fn empty_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.pickle.extend([EMPTY_TUPLE, REDUCE]);
    }

    /// Gives the newest object the next number.
    fn memoize(&mut self) -> u32 {
        let n = self.memoized;
        self.memoized += 1;
        self.numbered(b'q', b'r', n);
        n
    }

    fn numbered(&mut self, short: u8, long: u8, n: u32) {
        match u8::try_from(n) {
            Ok(n) => self.pickle.extend([short, n]),
            Err(_) => {
                self.pickle.push(long);
                self.pickle.extend(n.to_le_bytes());
            }
        }
    }

    /// Writes an object the first time, and a reference to it from then on.
    fn once(&mut self, key: String, write: impl FnOnce(&mut Self)) {
        match self.memo.get(&key) {
            Some(&n) => self.numbered(b'h', b'j', n),
            None => {
                write(self);
                let n = self.memoize();
                self.memo.insert(key, n);
            }
        }
    }

    fn global(&mut self, module: &str, name: &str) {
        let words = format!("{module}\n{name}\n");
        self.once(format!("c{words}"), |pickler| {
            pickler.pickle.push(GLOBAL);
            pickler.pickle.extend(words.as_bytes());
        });
    }

    /// A string that is one object in Python; `kind` keeps keys of storages apart
    /// from other strings.
    fn shared(&mut self, kind: &str, text: &str) {
        self.once(format!("{kind}{text}"), |pickler| pickler.unicode(text));
    }

    fn unicode(&mut self, text: &str) {
        self.pickle.push(UNICODE);
        self.pickle.extend((text.len() as u32).to_le_bytes());
        self.pickle.extend(text.as_bytes());
    }

    fn ints(&mut self, numbers: &[i64]) {
        if numbers.is_empty() {
            self.pickle.push(EMPTY_TUPLE);
            return;
        }
        if numbers.len() > 3 {
            self.pickle.push(MARK);
        }
        for &n in numbers {
            self.int(n);
        }
        self.pickle.push(match numbers.len() {
            1 => TUPLE_1,
            2 => TUPLE_2,
            3 => TUPLE_3,
            _ => TUPLE,
        });
        self.memoize();
    }

    /// A number that is not negative, in as few bytes as it needs.
    fn int(&mut self, n: i64) {
        if let Ok(n) = u8::try_from(n) {
            self.pickle.extend([b'K', n]);
        } else if let Ok(n) = u16::try_from(n) {
            self.pickle.push(b'M');
            self.pickle.extend(n.to_le_bytes());
        } else if let Ok(n) = i32::try_from(n) {
            self.pickle.push(b'J');
            self.pickle.extend(n.to_le_bytes());
        } else {
            // Two's complement: one bit more than the number, for the sign.
            let bytes = (64 - n.leading_zeros() as usize) / 8 + 1;
            self.pickle.extend([0x8a, bytes as u8]);
            self.pickle.extend(&n.to_le_bytes()[..bytes]);
        }
    }
}

/// The strides that libtorch gives a new tensor.
fn stride(shape: &[i64]) -> Vec<i64> {
    crate::tensor::contiguous_stride(shape)
}
