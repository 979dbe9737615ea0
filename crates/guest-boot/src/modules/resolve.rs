//! From names to files in the order in which they can be loaded.

use std::collections::BTreeSet;

use super::{Module, ModuleError, ModuleName, ModuleTree};

impl ModuleTree {
    /// These modules and all that they need, each after what it needs. What is part of the kernel is left out.
    ///
    /// # Errors
    /// When one of them is neither a file nor part of the kernel, or its file cannot be read.
    pub fn resolve<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Module>, ModuleError> {
        let mut order = Order { tree: self, seen: BTreeSet::new(), modules: Vec::new() };
        for name in names {
            order.add(&ModuleName::new(name), None)?;
        }
        Ok(order.modules)
    }

    /// What stands for a name that a module only wishes for: the module itself, or those that have it as an alias. Where several
    /// do the same, the one without conditions on the processor (`…_generic`).
    fn wished(&self, name: &ModuleName) -> Vec<&ModuleName> {
        if let Some((name, _)) = self.files.get_key_value(name) {
            return vec![name];
        }
        let Some(candidates) = self.aliases.get(name) else { return Vec::new() };
        if candidates.iter().any(|candidate| self.is_builtin(candidate) == Some(true)) {
            return Vec::new();
        }
        let there: Vec<_> = candidates.iter().filter(|candidate| self.has(candidate)).collect();
        match there.iter().find(|candidate| candidate.as_str().ends_with("_generic")) {
            Some(generic) => vec![generic],
            None => there,
        }
    }
}

struct Order<'a> {
    tree: &'a ModuleTree,
    /// Those that are done, and those that are being done: a circle ends where it closes.
    seen: BTreeSet<ModuleName>,
    modules: Vec<Module>,
}

impl Order<'_> {
    fn add(&mut self, name: &ModuleName, needed_by: Option<&ModuleName>) -> Result<(), ModuleError> {
        if self.tree.is_builtin(name) == Some(true) || !self.seen.insert(name.clone()) {
            return Ok(());
        }
        let path = self.tree.files.get(name).ok_or_else(|| ModuleError::Missing {
            name: name.clone(),
            needed_by: needed_by.cloned(),
            version: self.tree.version.clone(),
        })?;
        let module = Module::read(name.clone(), path)?;
        for wish in &module.info.wishes {
            for wished in self.tree.wished(wish) {
                self.add(wished, Some(name))?;
            }
        }
        for needed in &module.info.depends {
            self.add(needed, Some(name))?;
        }
        self.modules.push(module);
        Ok(())
    }
}
