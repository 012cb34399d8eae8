//! Element types, by the names that each format gives them: the one place.

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    F8E4M3,
    F8E5M2,
    F8E4M3Fnuz,
    F8E5M2Fnuz,
    F8E8M0,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    C128,
    C64,
    C32,
}

/// What the formats call a type, and what it takes.
struct Names {
    dtype: DType,
    /// `torch.float32`
    torch: &'static str,
    /// `torch.FloatStorage`
    storage: Option<&'static str>,
    safetensors: Option<&'static str>,
    /// numpy's letter and size, without the byte order.
    numpy: Option<&'static str>,
    size: usize,
}

#[rustfmt::skip]
const NAMES: [Names; 21] = {
    use DType::*;
    const fn row(
        dtype: DType, torch: &'static str, storage: Option<&'static str>,
        safetensors: Option<&'static str>, numpy: Option<&'static str>, size: usize,
    ) -> Names {
        Names { dtype, torch, storage, safetensors, numpy, size }
    }
    [
        row(F64, "float64", Some("DoubleStorage"), Some("F64"), Some("f8"), 8),
        row(F32, "float32", Some("FloatStorage"), Some("F32"), Some("f4"), 4),
        row(F16, "float16", Some("HalfStorage"), Some("F16"), Some("f2"), 2),
        row(BF16, "bfloat16", Some("BFloat16Storage"), Some("BF16"), None, 2),
        row(F8E4M3, "float8_e4m3fn", None, Some("F8_E4M3"), None, 1),
        row(F8E5M2, "float8_e5m2", None, Some("F8_E5M2"), None, 1),
        row(F8E4M3Fnuz, "float8_e4m3fnuz", None, Some("F8_E4M3FNUZ"), None, 1),
        row(F8E5M2Fnuz, "float8_e5m2fnuz", None, Some("F8_E5M2FNUZ"), None, 1),
        row(F8E8M0, "float8_e8m0fnu", None, Some("F8_E8M0"), None, 1),
        row(I64, "int64", Some("LongStorage"), Some("I64"), Some("i8"), 8),
        row(I32, "int32", Some("IntStorage"), Some("I32"), Some("i4"), 4),
        row(I16, "int16", Some("ShortStorage"), Some("I16"), Some("i2"), 2),
        row(I8, "int8", Some("CharStorage"), Some("I8"), Some("i1"), 1),
        row(U64, "uint64", None, Some("U64"), Some("u8"), 8),
        row(U32, "uint32", None, Some("U32"), Some("u4"), 4),
        row(U16, "uint16", None, Some("U16"), Some("u2"), 2),
        row(U8, "uint8", Some("ByteStorage"), Some("U8"), Some("u1"), 1),
        row(Bool, "bool", Some("BoolStorage"), Some("BOOL"), Some("b1"), 1),
        row(C128, "complex128", Some("ComplexDoubleStorage"), None, Some("c16"), 16),
        row(C64, "complex64", Some("ComplexFloatStorage"), Some("C64"), Some("c8"), 8),
        row(C32, "complex32", None, None, None, 4),
    ]
};

/// TorchScript writes a storage of its own for every type, also for those that
/// `torch.save` keeps in an untyped one.
const SCRIPT_STORAGES: [(&str, DType); 9] = [
    ("Float8_e4m3fnStorage", DType::F8E4M3),
    ("Float8_e5m2Storage", DType::F8E5M2),
    ("Float8_e4m3fnuzStorage", DType::F8E4M3Fnuz),
    ("Float8_e5m2fnuzStorage", DType::F8E5M2Fnuz),
    ("Float8_e8m0fnuStorage", DType::F8E8M0),
    ("UInt64Storage", DType::U64),
    ("UInt32Storage", DType::U32),
    ("UInt16Storage", DType::U16),
    ("ComplexHalfStorage", DType::C32),
];

fn find(matches: impl Fn(&Names) -> bool) -> Option<DType> {
    let names = NAMES.iter().find(|names| matches(names))?;
    Some(names.dtype)
}

impl DType {
    fn names(self) -> &'static Names {
        // In the order of the enum, which a test holds.
        &NAMES[self as usize]
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        self.names().size
    }

    /// torch's name without `torch.`: `float32`.
    pub fn name(self) -> &'static str {
        self.names().torch
    }

    /// The name in a safetensors header, if the format has the type.
    pub fn safetensors_name(self) -> Option<&'static str> {
        self.names().safetensors
    }

    /// `FloatStorage`; none for the types that torch saves without one.
    pub(crate) fn storage_name(self) -> Option<&'static str> {
        self.names().storage
    }

    /// By torch's name without `torch.`.
    pub fn from_name(name: &str) -> Option<DType> {
        find(|names| names.torch == name)
    }

    pub(crate) fn from_storage(name: &str) -> Option<DType> {
        let script = SCRIPT_STORAGES.iter().find(|(script, _)| *script == name);
        find(|names| names.storage == Some(name)).or(script.map(|(_, dtype)| *dtype))
    }

    pub(crate) fn from_safetensors(name: &str) -> Option<DType> {
        find(|names| names.safetensors == Some(name))
    }

    pub(crate) fn from_numpy(name: &str) -> Option<DType> {
        find(|names| names.numpy == Some(name))
    }

    /// Whether the elements are real numbers with a fraction.
    pub fn is_floating(self) -> bool {
        self.name().contains("float")
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_types() {
        for (n, names) in NAMES.iter().enumerate() {
            assert_eq!(names.dtype as usize, n);
            assert_eq!(DType::from_name(names.torch), Some(names.dtype));
        }
        assert!(DType::BF16.is_floating() && DType::F8E8M0.is_floating());
        assert!(!DType::C64.is_floating() && !DType::U8.is_floating());
    }
}
