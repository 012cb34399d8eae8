//! Files of named tensors, in and out.

pub mod safetensors;
