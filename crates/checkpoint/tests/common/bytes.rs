//! Files made by hand: right, or wrong in one place.

/// What a header of a zip archive says of a member.
#[derive(Clone)]
pub struct Header {
    pub name: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub packed: u32,
    pub size: u32,
    pub extra: Vec<u8>,
}

impl Header {
    /// From the flags on, up to the name.
    fn write(&self, bytes: &mut Vec<u8>, more: &[u8]) {
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.method.to_le_bytes());
        bytes.extend([0; 4]); // time
        for field in [self.crc, self.packed, self.size] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes.extend((self.extra.len() as u16).to_le_bytes());
        bytes.extend(more);
        bytes.extend(&self.name);
        bytes.extend(&self.extra);
    }
}

/// A member of a zip archive. Both of its headers can be made to lie.
#[derive(Clone)]
pub struct Member {
    pub local: Header,
    pub central: Header,
    pub data: Vec<u8>,
    /// Where the directory says that it lies, if not where it does.
    pub place: Option<u32>,
}

impl Member {
    pub fn new(name: &str, data: impl Into<Vec<u8>>) -> Member {
        let data = data.into();
        let header = Header {
            name: name.into(),
            flags: 0,
            method: 0,
            crc: crc32fast::hash(&data),
            packed: data.len() as u32,
            size: data.len() as u32,
            extra: Vec::new(),
        };
        Member {
            local: header.clone(),
            central: header,
            data,
            place: None,
        }
    }

    /// Changes both headers alike.
    pub fn with(mut self, change: impl Fn(&mut Header)) -> Member {
        change(&mut self.local);
        change(&mut self.central);
        self
    }
}

/// A zip archive of these members.
pub fn zip(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        let place = member.place.unwrap_or(bytes.len() as u32);
        bytes.extend(b"PK\x03\x04\x00\x00");
        member.local.write(&mut bytes, &[]);
        bytes.extend(&member.data);
        directory.extend(b"PK\x01\x02\x00\x00\x00\x00");
        let mut more = [0; 14]; // comment, disk, attributes
        more[10..].copy_from_slice(&place.to_le_bytes());
        member.central.write(&mut directory, &more);
    }
    let (start, size) = (bytes.len() as u32, directory.len() as u32);
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
    let count = (members.len() as u16).to_le_bytes();
    bytes.extend([count, count].concat());
    bytes.extend(size.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// The members that `torch.save` writes, of a pickle and storages by key.
pub fn members(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<Member> {
    let mut members = vec![
        Member::new("archive/data.pkl", pickle),
        Member::new("archive/byteorder", "little"),
    ];
    for (key, bytes) in storages {
        members.push(Member::new(&format!("archive/data/{key}"), *bytes));
    }
    members.push(Member::new("archive/version", "3\n"));
    members
}

/// A file of `torch.save`.
pub fn torch_zip(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    zip(&members(pickle, storages))
}

/// The three pickles that a file of torch before 1.6 starts with.
pub fn legacy_start(little_endian: bool) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let version = b"\x80\x02M\xe9\x03.";
    let flag: &[u8] = if little_endian { b"\x88" } else { b"\x89" };
    let system = pickle(&dict(&[
        ("protocol_version", &int(1001)),
        ("little_endian", flag),
    ]));
    [&magic[..], version, &system].concat()
}

/// A file of torch before 1.6: for each storage its key and its bytes, of so
/// many elements.
pub fn legacy(value: &[u8], storages: &[(&str, i64, &[u8])]) -> Vec<u8> {
    let mut keys = b"]".to_vec();
    for (key, ..) in storages {
        keys.extend([text(key), b"a".to_vec()].concat());
    }
    let mut bytes = [legacy_start(true), value.to_vec(), pickle(&keys)].concat();
    for (_, count, data) in storages {
        bytes.extend(count.to_le_bytes());
        bytes.extend(*data);
    }
    bytes
}

pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), data].concat()
}

/// A `.npy` file of version 1.
pub fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

// Parts of pickles: each pushes one value.

/// A whole pickle of protocol 2.
pub fn pickle(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02", value, b"."].concat()
}

pub fn text(text: &str) -> Vec<u8> {
    let length = (text.len() as u32).to_le_bytes();
    [b"X", &length[..], text.as_bytes()].concat()
}

pub fn int(value: i64) -> Vec<u8> {
    [b"\x8a\x08", &value.to_le_bytes()[..]].concat()
}

pub fn ints(values: &[i64]) -> Vec<u8> {
    let values: Vec<Vec<u8>> = values.iter().map(|&value| int(value)).collect();
    tuple(&values)
}

pub fn tuple(values: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &values.concat()[..], b"t"].concat()
}

pub fn dict(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"}(".to_vec();
    for (key, value) in entries {
        bytes.extend(text(key));
        bytes.extend(*value);
    }
    bytes.push(b'u');
    bytes
}

pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub fn call(module: &str, name: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
    [&global(module, name)[..], &tuple(arguments), b"R"].concat()
}

/// A storage of torch's class `class` by its key, of so many elements.
pub fn storage(class: &str, key: &str, count: i64) -> Vec<u8> {
    let id = tuple(&[
        text("storage"),
        global("torch", class),
        text(key),
        text("cpu"),
        int(count),
    ]);
    [&id[..], b"Q"].concat()
}

/// A view of a storage.
pub fn tensor(storage: &[u8], offset: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
    let hooks = call("collections", "OrderedDict", &[]);
    let arguments = [
        storage.to_vec(),
        int(offset),
        ints(shape),
        ints(stride),
        b"\x89".to_vec(),
        hooks,
    ];
    call("torch._utils", "_rebuild_tensor_v2", &arguments)
}

/// `{"x": tensor}` of one float storage `0`.
pub fn one_tensor(count: i64, offset: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
    let storage = storage("FloatStorage", "0", count);
    pickle(&dict(&[("x", &tensor(&storage, offset, shape, stride))]))
}

/// The same with the 64-bit end record, for more than 65535 members.
pub fn zip64(members: &[Member]) -> Vec<u8> {
    let mut bytes = zip(members);
    let end = bytes.len() - 22;
    let size = u32::from_le_bytes(bytes[end + 12..end + 16].try_into().expect("4 bytes"));
    let short = bytes.split_off(end);
    let mut long = b"PK\x06\x06".to_vec();
    long.extend(44u64.to_le_bytes());
    long.extend([0; 12]); // versions, disks
    let count = (members.len() as u64).to_le_bytes();
    long.extend([count, count].concat());
    long.extend(u64::from(size).to_le_bytes());
    long.extend((end as u64 - u64::from(size)).to_le_bytes());
    long.extend(b"PK\x06\x07\x00\x00\x00\x00");
    long.extend((end as u64).to_le_bytes());
    long.extend(1u32.to_le_bytes());
    bytes.extend(long);
    bytes.extend(&short[..8]);
    bytes.extend([0xff; 4]); // the counts: see above
    bytes.extend(&short[12..]);
    bytes
}
