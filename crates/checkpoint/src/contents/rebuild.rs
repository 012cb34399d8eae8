//! The calls by which torch rebuilds tensors: an allow-list.

use super::storages::{declared, quantized};
use super::{Walker, rebuilds};
use crate::dtype::DType;
use crate::limits::RANK;
use crate::parse_error::ParseResult;
use crate::pickle::{Id, Node};
use crate::tensor::TensorInfo;

/// What a call for a tensor comes to.
pub(super) enum Rebuilt {
    Tensor(TensorInfo),
    Refused(String),
}

impl Walker<'_> {
    /// A storage that was saved by itself.
    pub(super) fn whole_storage(&mut self, id: Id) -> ParseResult<TensorInfo> {
        let name = self.name()?;
        let (storage, dtype, bytes) = self.storage(id, self.base)?;
        Ok(TensorInfo {
            name,
            dtype,
            shape: vec![(bytes / dtype.size()) as i64],
            stride: vec![1],
            offset: 0,
            storage,
            parameter: false,
        })
    }

    /// Number, type and size of the storage that a value stands for.
    fn storage(&self, id: Id, at: usize) -> ParseResult<(usize, DType, usize)> {
        let declared = match self.tree.node(id) {
            Node::Persistent(id) => declared(self.tree, id, at)?,
            _ => None,
        };
        let Some(declared) = declared else {
            return Err(self.malformed(at, "has no storage"));
        };
        match self.storages.get(declared.key.as_str()) {
            Some(&(n, bytes)) => Ok((n, declared.dtype, bytes)),
            None => Err(self.malformed(at, format!("its storage {:?} is missing", declared.key))),
        }
    }

    /// The call for a tensor: torch's `_utils.py` and `_tensor.py` say what the
    /// arguments are.
    pub(super) fn rebuild(&mut self, id: Id, depth: usize) -> ParseResult<Rebuilt> {
        let refuse = |reason: &str| Ok(Rebuilt::Refused(reason.to_owned()));
        let at = self
            .tree
            .object(id)
            .map_or(self.base, |object| object.offset);
        let Some(((_, function), arguments)) = self.tree.call(id) else {
            return Err(self.malformed(at, "is no call of torch's"));
        };
        if depth > 8 {
            return Err(self.malformed(at, "is wrapped too often"));
        }
        match (function, arguments) {
            ("_rebuild_tensor", &[storage, offset, size, stride]) => {
                self.view(at, storage, [offset, size, stride], None, None)
            }
            ("_rebuild_tensor_v2", &[storage, offset, size, stride, _, _, ref more @ ..]) => self
                .view(
                    at,
                    storage,
                    [offset, size, stride],
                    None,
                    more.first().copied(),
                ),
            (
                "_rebuild_tensor_v3",
                &[storage, offset, size, stride, _, _, dtype, ref more @ ..],
            ) => self.view(
                at,
                storage,
                [offset, size, stride],
                Some(dtype),
                more.first().copied(),
            ),
            ("_rebuild_parameter" | "_rebuild_parameter_with_state", &[data, ..]) => {
                if !rebuilds(self.tree, data) {
                    return Err(self.malformed(at, "is a parameter without a tensor"));
                }
                let mut inner = self.rebuild(data, depth + 1)?;
                if let Rebuilt::Tensor(tensor) = &mut inner {
                    tensor.parameter = true;
                }
                Ok(inner)
            }
            ("_rebuild_from_type_v2", &[function, _, arguments, _]) => {
                // A subclass: the tensor in it is what we want.
                let Some((_, name)) = self.tree.global(function) else {
                    return Err(self.malformed(at, "is of a type without a function"));
                };
                let arguments = self.tree.elements(arguments).unwrap_or_default();
                match (name, arguments) {
                    (
                        "_rebuild_tensor_v2",
                        &[storage, offset, size, stride, _, _, ref more @ ..],
                    ) => {
                        let metadata = more.first().copied();
                        self.view(at, storage, [offset, size, stride], None, metadata)
                    }
                    (
                        "_rebuild_tensor_v3",
                        &[storage, offset, size, stride, _, _, dtype, ref more @ ..],
                    ) => {
                        let metadata = more.first().copied();
                        self.view(at, storage, [offset, size, stride], Some(dtype), metadata)
                    }
                    ("_rebuild_parameter", &[data, ..]) if rebuilds(self.tree, data) => {
                        self.rebuild(data, depth + 1)
                    }
                    _ => Ok(Rebuilt::Refused(format!(
                        "a tensor subclass made by {name}; save tensor.as_subclass(torch.Tensor)"
                    ))),
                }
            }
            ("_rebuild_qtensor", _) => {
                refuse("is quantized; save tensor.dequantize(), or its int_repr() and scales")
            }
            ("_rebuild_sparse_tensor", _) => refuse("is sparse; save tensor.to_dense()"),
            ("_rebuild_sparse_csr_tensor", _) => {
                refuse("is sparse (compressed); save tensor.to_dense()")
            }
            ("_rebuild_meta_tensor_no_storage", _) => {
                refuse("is on the meta device: it never had any numbers")
            }
            ("_rebuild_nested_tensor", _) => refuse("is nested; save its parts, tensor.unbind()"),
            ("_rebuild_device_tensor_from_numpy" | "_rebuild_device_tensor_from_cpu_tensor", _) => {
                refuse("was saved on a device of another package; save tensor.cpu()")
            }
            ("_rebuild_wrapper_subclass", _) => {
                refuse("is of a tensor subclass without numbers of its own; save what it wraps")
            }
            ("_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3", _)
            | (
                "_rebuild_parameter" | "_rebuild_parameter_with_state" | "_rebuild_from_type_v2",
                _,
            ) => Err(self.malformed(at, format!("{function} with the wrong arguments"))),
            (other, _) => Ok(Rebuilt::Refused(format!(
                "made by torch's {other}, which this reader does not know"
            ))),
        }
    }

    fn view(
        &mut self,
        at: usize,
        storage: Id,
        [offset, size, stride]: [Id; 3],
        dtype: Option<Id>,
        metadata: Option<Id>,
    ) -> ParseResult<Rebuilt> {
        let tree = self.tree;
        if let Node::Persistent(id) = tree.node(storage) {
            let class = tree
                .elements(id)
                .and_then(|elements| elements.get(1).copied());
            if class
                .and_then(|id| tree.global(id))
                .is_some_and(|(_, name)| quantized(name))
            {
                let reason = "is quantized; save tensor.dequantize(), or its int_repr() and scales";
                return Ok(Rebuilt::Refused(reason.to_owned()));
            }
        }
        let (storage, mut storage_dtype, bytes) = self.storage(storage, at)?;
        if let Some(dtype) = dtype {
            let name = match tree.global(dtype) {
                Some(("torch", name)) => name,
                _ => "",
            };
            storage_dtype = match DType::from_name(name) {
                Some(dtype) => dtype,
                None => {
                    let reason = format!("is torch.{name}, which this reader does not know");
                    return Ok(Rebuilt::Refused(reason));
                }
            };
        }
        for flag in ["conj", "neg"] {
            self.spend(metadata.map_or(0, |metadata| self.length(metadata)))?;
            let set = metadata.and_then(|metadata| tree.get(metadata, flag));
            if set.and_then(|flag| tree.int(flag)) == Some(1) {
                let reason = format!(
                    "its numbers are not written out (the {flag} bit is set); save tensor.resolve_{flag}()"
                );
                return Ok(Rebuilt::Refused(reason));
            }
        }
        // A rank that is too large is refused by the check below.
        let numbers = |id: Id| -> Option<Vec<i64>> {
            let ids = tree.elements(id)?;
            let numbers = ids.iter().take(RANK + 1).map(|&n| tree.int(n));
            numbers.collect()
        };
        // Both lists, as they grow.
        let rank = self.length(size).clamp(4, RANK).next_power_of_two();
        let room = 2 * size_of::<i64>() * rank;
        self.budget.charge(room, at)?;
        let (Some(offset), Some(shape), Some(stride)) =
            (tree.int(offset), numbers(size), numbers(stride))
        else {
            return Err(self.malformed(at, "sizes, strides or offset are no numbers"));
        };
        let tensor = TensorInfo {
            name: self.path.clone(),
            dtype: storage_dtype,
            shape,
            stride,
            offset,
            storage,
            parameter: false,
        };
        tensor.check(bytes, at)?;
        Ok(Rebuilt::Tensor(tensor))
    }
}
