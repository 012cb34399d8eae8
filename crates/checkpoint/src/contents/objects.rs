//! Objects of a pickle: modules, and whatever else has a class.

use std::collections::HashSet;

use super::{ModuleInfo, Walker, module_class, rebuilds};
use crate::parse_error::ParseResult;
use crate::pickle::Id;
use crate::value;

impl Walker<'_> {
    /// An object that stays inert: its state is looked through for tensors.
    pub(super) fn object(&mut self, id: Id, depth: usize) -> ParseResult<()> {
        let Some(object) = self.tree.object(id) else {
            return Ok(());
        };
        let class = module_class(self.tree, object.class).unwrap_or(object.class);
        let class = self.tree.global(class);
        if let Some((module, name)) = class {
            let attributes = match object.state {
                Some(state) => self.scalars(state)?,
                None => Vec::new(),
            };
            let length = module.len() + name.len() + 1;
            self.budget.charge(length, self.base)?;
            let info = ModuleInfo {
                name: self.name()?,
                class: format!("{module}.{name}"),
                attributes,
            };
            self.found.modules.push(info);
        }
        // A dict or list of its own class: what is in it has the names as in any other.
        for container in [object.entries, object.elements].into_iter().flatten() {
            self.visit_if_holds(container, depth)?;
        }
        // A dict may be its own state: `self.__dict__ = self`.
        if let Some(state) = object.state.filter(|&state| state != id) {
            if self.tree.entries(state).is_some() {
                self.attributes(state, object.entries, depth)?;
            } else {
                self.within("state", |walker| walker.visit_if_holds(state, depth))?;
            }
        }
        self.within("arguments", |walker| {
            walker.visit_if_holds(object.arguments, depth)
        })
    }

    pub(super) fn visit_if_holds(&mut self, id: Id, depth: usize) -> ParseResult<()> {
        match self.holds[id.0 as usize] {
            true => self.visit(id, depth + 1),
            false => Ok(()),
        }
    }

    /// What an object has. Of a `torch.nn.Module` first its parameters, buffers
    /// and modules by their own names, as its state dict would have them; then
    /// what else holds tensors, but for those that were listed (an LSTM keeps
    /// its weights twice, in TorchScript as well; a dict that can be read by attributes
    /// has its `entries` as these, too), and its larger values.
    fn attributes(&mut self, state: Id, entries: Option<Id>, depth: usize) -> ParseResult<()> {
        const TABLES: [&str; 3] = ["_parameters", "_buffers", "_modules"];
        /// Bytes of a place in a set of values, which may be half empty.
        const LISTED: usize = 16;
        let tree = self.tree;
        self.spend(self.length(state))?;
        let is_module = tree.get(state, TABLES[0]).is_some();
        let mut listed = HashSet::new();
        let length = entries.map_or(0, |entries| self.length(entries));
        self.spend(length)?;
        let mut room = 4 * LISTED * length;
        self.budget.charge(room, self.base)?;
        let mut same = HashSet::new();
        for (key, value) in entries
            .and_then(|id| tree.entries(id))
            .into_iter()
            .flatten()
        {
            same.insert((self.key(key)?, value));
        }
        for table in TABLES.iter().filter(|_| is_module) {
            let Some(table) = tree.get(state, table) else {
                continue;
            };
            let length = self.length(table);
            self.spend(length)?;
            room += LISTED * length;
            self.budget.charge(LISTED * length, self.base)?;
            for (key, value) in tree.entries(table).into_iter().flatten() {
                if self.holds[value.0 as usize] {
                    listed.insert(value);
                    let key = self.key(key)?;
                    self.within(&key, |walker| walker.visit(value, depth + 1))?;
                }
            }
        }
        if !is_module {
            // TorchScript has no tables: its tensors are attributes themselves.
            let more = LISTED * self.length(state);
            room += more;
            self.budget.charge(more, self.base)?;
            let direct = tree.entries(state).into_iter().flatten();
            listed.extend(
                direct
                    .map(|(_, value)| value)
                    .filter(|&id| rebuilds(tree, id)),
            );
        }
        for (key, value) in tree.entries(state).into_iter().flatten() {
            let name = self.key(key)?;
            if is_module && TABLES.contains(&&*name) {
                continue;
            }
            if same.contains(&(name.clone(), value)) {
                continue;
            }
            let elements = tree.elements(value);
            let wanted = match self.holds[value.0 as usize] {
                true => {
                    self.spend(self.length(value))?;
                    let copies = elements.is_some_and(|elements| {
                        let mut holding = elements.iter().filter(|id| self.holds[id.0 as usize]);
                        holding.all(|id| listed.contains(id))
                    });
                    match is_module {
                        true => !copies && !listed.contains(&value),
                        false => !(copies && name.starts_with('_')),
                    }
                }
                false => self.length(value) > 0 && !name.starts_with('_'),
            };
            if wanted {
                self.within(&name, |walker| walker.visit(value, depth + 1))?;
            }
        }
        self.budget.refund(room);
        Ok(())
    }

    /// The plain attributes of an object.
    fn scalars(&mut self, state: Id) -> ParseResult<Vec<(String, String)>> {
        const MOST: usize = 100;
        // In a list that may be half empty, with the texts' own allocations.
        const EACH: usize = 2 * size_of::<(String, String)>() + 32;
        let entries = self.tree.entries(state).into_iter().flatten();
        let mut scalars = Vec::new();
        for (key, value) in entries {
            let name = self.key(key)?;
            let private = name.starts_with('_') || name == "training";
            if let (false, Some(text)) = (private, value::scalar(self.tree, value)) {
                self.budget
                    .charge(EACH + name.len() + text.len(), self.base)?;
                scalars.push((name.into_owned(), text));
            }
            if scalars.len() == MOST {
                break;
            }
            self.spend(1)?;
        }
        Ok(scalars)
    }
}
