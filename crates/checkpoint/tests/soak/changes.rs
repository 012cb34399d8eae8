//! Files changed at random.

use std::ops::Range;

use super::common::bytes::*;
use super::measure::{alone, soak};

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(kind: &str, number: u64) -> Random {
        let seed = kind.bytes().fold(number, |seed, byte| {
            (seed ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A part of so many bytes, mostly short.
    pub fn range(&mut self, length: usize) -> Range<usize> {
        let start = self.below(length + 1);
        let most = match self.below(4) {
            0 => length,
            _ => 16,
        };
        start..(start + self.below(most + 1)).min(length)
    }
}

const OPERATIONS: &[u8] =
    b"\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96()]}.012BCFGIJKLMNPQRSTUVXabcdeghijlopqrstu";

/// Changes some bytes; `others` are what parts are taken from.
pub fn change(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let times = 1 + random.below(4) * random.below(2);
    for _ in 0..times {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(10) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = *random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            3 => bytes[at] = *random.pick(OPERATIONS),
            4 => {
                // A length, most likely.
                let near = random.below(40) as u64;
                let value = *random.pick(&[
                    0,
                    near,
                    u64::MAX - near,
                    u64::MAX >> 1,
                    1 << 32,
                    0x7fff_ffff,
                    0xffff_ffff,
                    bytes.len() as u64 + near,
                ]);
                let width = *random.pick(&[1, 2, 4, 8]);
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            5 => bytes.truncate(at),
            6 => {
                let range = random.range(bytes.len());
                let part = bytes[range].to_vec();
                bytes.splice(at..at, part);
            }
            7 => {
                let range = random.range(bytes.len());
                bytes.drain(range);
            }
            8 => {
                let other = random.pick(others);
                let part = other[random.range(other.len())].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let other = random.pick(others);
                let part = other[random.range(other.len())].to_vec();
                let end = (at + part.len()).min(bytes.len());
                bytes.splice(at..end, part);
            }
        }
        bytes.truncate(1 << 16);
    }
}

/// A pickle of random operations, which mostly fit behind one another.
pub fn random_pickle(random: &mut Random) -> Vec<u8> {
    let mut bytes = b"\x80\x02".to_vec();
    // For each value on the stack whether it is a list (l), dict (d) or other;
    // a mark is (.
    let mut stack: Vec<u8> = Vec::new();
    let mut memo: Vec<u8> = Vec::new();
    for _ in 0..random.below(80) {
        let depth = stack.iter().rev().take_while(|&&kind| kind != b'(').count();
        let top = if depth > 0 {
            stack[stack.len() - 1]
        } else {
            b'?'
        };
        match random.below(24) {
            0 => {
                let value = match random.below(3) {
                    0 => random.next() as i64,
                    _ => random.below(300) as i64,
                };
                bytes.extend(int(value));
                stack.push(b'v');
            }
            1 => {
                let word = random.pick(&[
                    "x",
                    "weight_ih_l0",
                    "weight_hh_l0",
                    "storage",
                    "_modules",
                    "_parameters",
                    "ä",
                    "",
                ]);
                bytes.extend(text(word));
                stack.push(b'v');
            }
            2 => {
                bytes.extend(*random.pick(&[
                    &b"N"[..],
                    b"\x88",
                    b"\x89",
                    b"C\x02ab",
                    b"G\x3f\xf0\0\0\0\0\0\0",
                    b"\x8a\x09123456789",
                    b"L123456789012345678901L\n",
                    b"Va\\u00e4\n",
                    b"S'x\\n'\n",
                    b"I01\n",
                ]));
                stack.push(b'v');
            }
            3 | 4 => {
                let (operation, kind) =
                    *random.pick(&[(b']', b'l'), (b'}', b'd'), (b')', b'v'), (0x8f, b'l')]);
                bytes.push(operation);
                stack.push(kind);
            }
            5 | 6 => {
                let key = random.pick(&["0", "1"]);
                let count = if *key == "0" { 16 } else { 4 };
                let (rows, columns) = (random.below(5) as i64, random.below(4) as i64);
                let class = random.pick(&[
                    "FloatStorage",
                    "FloatStorage",
                    "LongStorage",
                    "QInt8Storage",
                ]);
                let stride = [columns, 1];
                let storage = storage(class, key, count);
                bytes.extend(tensor(
                    &storage,
                    random.below(3) as i64,
                    &[rows, columns],
                    &stride,
                ));
                stack.push(b'v');
            }
            7 if depth > 0 => {
                bytes.push(0x94);
                memo.push(top);
            }
            8 | 9 if !memo.is_empty() => {
                let n = random.below(memo.len());
                bytes.extend([b'h', n as u8]);
                stack.push(memo[n]);
            }
            10 | 11 => {
                bytes.push(b'(');
                stack.push(b'(');
            }
            12 | 13 if stack.contains(&b'(') => {
                let at = stack.len() - depth - 1;
                let container = at.checked_sub(1).map(|at| stack[at]);
                stack.truncate(at);
                match (container, random.below(2)) {
                    (Some(b'l'), 0) => bytes.push(b'e'),
                    (Some(b'd'), 0) if depth % 2 == 0 => bytes.push(b'u'),
                    (_, 1) if depth % 2 == 0 => {
                        bytes.push(b'd');
                        stack.push(b'd');
                    }
                    (_, choice) => {
                        bytes.push([b't', b'l'][choice]);
                        stack.push([b'v', b'l'][choice]);
                    }
                }
            }
            14 | 15 if depth > 1 && stack[stack.len() - 2] == b'l' => {
                bytes.push(b'a');
                stack.pop();
            }
            16 | 17 if depth > 2 && stack[stack.len() - 3] == b'd' => {
                bytes.push(b's');
                stack.truncate(stack.len() - 2);
            }
            18 if depth > 0 => {
                let count = 1 + random.below(depth.min(3));
                bytes.push(0x84 + count as u8);
                stack.truncate(stack.len() - count);
                stack.push(b'v');
            }
            19 => {
                let (module, name) = *random.pick(&[
                    ("collections", "OrderedDict"),
                    ("torch._utils", "_rebuild_parameter"),
                    ("torch._tensor", "_rebuild_from_type_v2"),
                    ("torch.nn.modules.rnn", "LSTM"),
                    ("builtins", "set"),
                    ("os", "system"),
                    ("torch.jit._pickle", "build_intlist"),
                ]);
                bytes.extend(global(module, name));
                stack.push(b'v');
            }
            20 if depth > 1 => {
                bytes.push(*random.pick(b"R\x81"));
                stack.pop();
            }
            21 if depth > 1 => {
                bytes.push(b'b');
                stack.pop();
            }
            22 if depth > 0 => {
                bytes.push(*random.pick(b"02Q"));
                match bytes.last() {
                    Some(b'0') => drop(stack.pop()),
                    Some(b'2') => stack.push(top),
                    _ => {}
                }
            }
            23 if random.below(20) == 0 => bytes.push(*random.pick(OPERATIONS)),
            _ => {}
        }
    }
    // Whatever is left becomes one value.
    while let Some(mark) = stack.iter().rposition(|&kind| kind == b'(') {
        bytes.push(b't');
        stack.truncate(mark);
        stack.push(b'v');
    }
    match stack.len() {
        0 => bytes.push(b'N'),
        count => bytes.extend(b"\x86".repeat(count - 1)),
    }
    bytes.push(b'.');
    bytes
}

#[test]
fn safetensors_changed_at_random() {
    let _alone = alone();
    let headers = [
        r#"{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"BOOL","shape":[],"data_offsets":[8,9]}}"#,
        r#"{"__metadata__":{"format":"pt"},"weight_ih_l0":{"dtype":"F32","shape":[4,1],"data_offsets":[0,16]},"weight_hh_l0":{"dtype":"F32","shape":[4,1],"data_offsets":[16,32]}}"#,
        r#"{"x":{"dtype":"F4","shape":[2],"data_offsets":[0,1]},"y":{"dtype":"U64","shape":[0,18],"data_offsets":[1,1]}}"#,
    ];
    let seeds: Vec<(Vec<u8>, usize)> = headers
        .iter()
        .zip([9, 32, 1])
        .map(|(header, data)| (header.as_bytes().to_vec(), data))
        .collect();
    let others: Vec<Vec<u8>> = seeds.iter().map(|(header, _)| header.clone()).collect();
    soak("safetensors", |random| {
        let (mut header, data) = random.pick(&seeds).clone();
        let whole = random.below(3) == 0;
        if !whole {
            change(random, &mut header, &others);
        }
        let length = (header.len() as u64).to_le_bytes();
        let mut file = [&length[..], &header, &vec![7; data]].concat();
        if whole {
            change(random, &mut file, &others);
        }
        file
    });
}

#[test]
fn pickles_of_random_operations() {
    let _alone = alone();
    soak("pickle", |random| {
        let pickle = random_pickle(random);
        torch_zip(&pickle, &[("0", &[1; 64]), ("1", &[2; 16])])
    });
}
