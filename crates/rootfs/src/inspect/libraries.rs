//! Whether the dynamic loader finds what a program needs (`ld.so(8)`; for musl its manual, "Dynamic linker").

use std::collections::{BTreeSet, VecDeque};

use super::elf::{Elf, Machine};
use super::environment::folders;
use super::finding::Listed;
use super::lookup::{Found, resolve};
use super::view::{View, is_file};
use crate::path::shown;
use crate::{NodeId, NodeKind, Tree};

/// The most libraries that one program loads before the search ends.
const MOST_LIBRARIES: usize = 1000;
/// The most files of `/etc/ld.so.conf.d`.
const MOST_CONFIGURATIONS: usize = 100;
/// The most folders that those name.
const MOST_FOLDERS: usize = 64;
const CONFIGURATION: &str = "/etc/ld.so.conf";
const CONFIGURATIONS: &str = "/etc/ld.so.conf.d";

/// What a program loads.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    /// How many libraries were found.
    pub(super) found: usize,
    /// Those that were not, each with what needs it.
    pub(super) missing: Listed,
    /// Whether something could not be read, so that more may be needed.
    pub(super) partly: bool,
}

/// Texts of the image that say where libraries are.
pub(super) fn texts(tree: &Tree) -> Vec<NodeId> {
    let file = |path: &[u8]| {
        resolve(tree, b"", path).ok().filter(|found| is_file(tree.node(found.id))).map(|found| found.id)
    };
    let mut texts: Vec<_> = file(CONFIGURATION.as_bytes()).into_iter().collect();
    let folder = resolve(tree, b"", CONFIGURATIONS.as_bytes()).ok();
    let names = folder.and_then(|folder| tree.children(folder.id)).into_iter().flatten();
    let names = names.map(|(name, _)| name).filter(|name| name.ends_with(b".conf"));
    texts.extend(
        names
            .take(MOST_CONFIGURATIONS)
            .filter_map(|name| file(&[CONFIGURATIONS.as_bytes(), b"/", name].concat())),
    );
    texts.extend(musl(tree).into_iter().filter_map(|path| file(&path)));
    texts
}

/// `/etc/ld-musl-x86_64.path` and the like.
fn musl(tree: &Tree) -> Vec<Vec<u8>> {
    let folder = resolve(tree, b"", b"/etc").ok();
    let names = folder.and_then(|folder| tree.children(folder.id)).into_iter().flatten();
    let names = names.map(|(name, _)| name);
    let names = names.filter(|name| name.starts_with(b"ld-musl-") && name.ends_with(b".path"));
    names.take(4).map(|name| [&b"/etc/"[..], name].concat()).collect()
}

/// Follows what a program needs, and what that needs.
pub(super) fn load(view: &View<'_>, program: &Found, elf: &Elf) -> Libraries {
    let loader = elf.interpreter.as_deref().unwrap_or_default();
    let loader = loader.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let is_musl = loader.starts_with(b"ld-musl");
    let mut libraries = Libraries::default();
    let rpath = |elf: &Elf| elf.dynamic.as_ref().and_then(|dynamic| dynamic.rpath.clone());
    let search = Search::new(view, elf.machine, is_musl);
    let inherited = search.folders(&rpath(elf), &[&program.path]);
    let mut seen: BTreeSet<Box<[u8]>> = BTreeSet::new();
    let mut todo = VecDeque::from([(program.path.clone(), program.clone())]);
    while let Some((called, found)) = todo.pop_front() {
        let Some(dynamic) = view.facts.elf(found.id).and_then(|elf| elf.dynamic.as_ref()) else {
            // A library that was not looked at, or one that needs nothing.
            libraries.partly |= view.facts.head(found.id).is_none();
            continue;
        };
        libraries.partly |= !dynamic.whole;
        let origins = [called.as_slice(), found.path.as_slice()];
        let rpath = search.folders(&dynamic.rpath, &origins);
        let runpath = search.folders(&dynamic.runpath, &origins);
        for name in &dynamic.needed {
            // The loader is a library that is loaded already; musl's is the C library as well.
            let is_loader = **name == *loader || is_musl && name.starts_with(b"libc.");
            if is_loader || !seen.insert(name.clone()) {
                continue;
            }
            if seen.len() > MOST_LIBRARIES {
                libraries.partly = true;
                return libraries;
            }
            let before = if dynamic.runpath.is_some() { &[][..] } else { &inherited[..] };
            match search.find(name, &rpath, before, &runpath) {
                Some((called, library)) => {
                    libraries.found += 1;
                    todo.push_back((called, library));
                }
                None => libraries.missing.add(|| format!("{} (for {})", shown(name), found.shown())),
            }
        }
    }
    libraries
}

struct Search<'a> {
    view: &'a View<'a>,
    machine: Machine,
    /// Those of the image's environment.
    variable: Vec<Folder>,
    standard: Vec<Folder>,
}

/// A folder of libraries that is there.
struct Folder {
    /// As the loader calls it, which is what `$ORIGIN` of its libraries means.
    called: Vec<u8>,
    /// Where it really is: each is looked up once, and not for each library.
    real: Vec<u8>,
}

impl<'a> Search<'a> {
    fn new(view: &'a View<'a>, machine: Machine, is_musl: bool) -> Self {
        let list = view.environment.value("LD_LIBRARY_PATH").map(str::as_bytes);
        let variable = list.into_iter().flat_map(folders).map(<[u8]>::to_vec);
        Self {
            view,
            machine,
            variable: there(view, variable),
            standard: there(view, standard(view, machine, is_musl)),
        }
    }

    /// The folders of a list in a program or library, which is in these places.
    fn folders(&self, list: &Option<Box<[u8]>>, origins: &[&[u8]]) -> Vec<Folder> {
        there(self.view, list.iter().flat_map(|list| self.expand(list, origins)))
    }

    /// Where a library is called for, and what is there.
    fn find(
        &self,
        name: &[u8],
        rpath: &[Folder],
        inherited: &[Folder],
        runpath: &[Folder],
    ) -> Option<(Vec<u8>, Found)> {
        if name.contains(&b'/') {
            return self.fits(self.view.working_dir(), name).map(|found| (name.to_vec(), found));
        }
        let mut all = [rpath, inherited, &self.variable, runpath, &self.standard].into_iter().flatten();
        all.find_map(|folder| {
            let found = self.fits(&folder.real, name)?;
            Some(([&folder.called, &b"/"[..], name].concat(), found))
        })
    }

    fn fits(&self, from: &[u8], name: &[u8]) -> Option<Found> {
        let found = resolve(self.view.tree, from, name).ok()?;
        let fits = is_file(self.view.node(found.id))
            && self.view.facts.elf(found.id).is_none_or(|elf| elf.machine == self.machine);
        fits.then_some(found)
    }

    /// A list of folders with what stands for others in it.
    fn expand(&self, list: &[u8], origins: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for folder in folders(list) {
            for origin in origins {
                let origin = origin.rsplitn(2, |&byte| byte == b'/').nth(1).unwrap_or_default();
                let origin = [&b"/"[..], origin.strip_prefix(b"/").unwrap_or(origin)].concat();
                for lib in [
                    triple(self.machine).map_or_else(|| "lib".into(), |name| format!("lib/{name}")),
                    "lib64".into(),
                    "lib".into(),
                ] {
                    let mut folder = folder.to_vec();
                    for (word, means) in [("ORIGIN", origin.as_slice()), ("LIB", lib.as_bytes())] {
                        folder = replaced(&folder, format!("${{{word}}}").as_bytes(), means);
                        folder = replaced(&folder, format!("${word}").as_bytes(), means);
                    }
                    if !all.contains(&folder) {
                        all.push(folder);
                    }
                }
            }
        }
        all
    }
}

/// Those of some folders that are there.
fn there(view: &View<'_>, folders: impl IntoIterator<Item = Vec<u8>>) -> Vec<Folder> {
    let folders = folders.into_iter().filter_map(|called| {
        let found = resolve(view.tree, view.working_dir(), &called).ok()?;
        view.tree.children(found.id)?;
        Some(Folder { called, real: found.path })
    });
    folders.collect()
}

fn replaced(text: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    match text.windows(what.len()).position(|part| part == what) {
        Some(at) => [&text[..at], by, &text[at + what.len()..]].concat(),
        None => text.to_vec(),
    }
}

/// The folders in which every program's libraries are looked for.
fn standard(view: &View<'_>, machine: Machine, is_musl: bool) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for id in texts(view.tree) {
        let lines = view.facts.text(id).unwrap_or_default().split(|byte| b"\n:".contains(byte));
        let lines =
            lines.map(|line| line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii());
        all.extend(lines.filter(|line| line.starts_with(b"/")).map(<[u8]>::to_vec));
    }
    all.truncate(MOST_FOLDERS);
    let triple = triple(machine).filter(|_| !is_musl);
    all.extend(
        triple.iter().flat_map(|name| [format!("/lib/{name}").into(), format!("/usr/lib/{name}").into()]),
    );
    let fixed: &[&str] = if is_musl {
        &["/lib", "/usr/local/lib", "/usr/lib"]
    } else {
        &["/lib64", "/usr/lib64", "/lib", "/usr/lib"]
    };
    all.extend(fixed.iter().map(|folder| folder.as_bytes().to_vec()));
    all
}

/// Debian's name for a processor with its C library, where folders are named after it.
fn triple(machine: Machine) -> Option<&'static str> {
    Some(match machine.architecture()? {
        "amd64" => "x86_64-linux-gnu",
        "386" => "i386-linux-gnu",
        "arm64" => "aarch64-linux-gnu",
        "arm" => "arm-linux-gnueabihf",
        "riscv64" => "riscv64-linux-gnu",
        "ppc64le" => "powerpc64le-linux-gnu",
        "s390x" => "s390x-linux-gnu",
        _ => return None,
    })
}

/// Whether an image has the GNU C library, which asks other libraries for names of hosts and users.
pub(super) fn has_glibc(view: &View<'_>, machine: Option<Machine>) -> bool {
    let folders = machine
        .and_then(triple)
        .into_iter()
        .flat_map(|name| [format!("/lib/{name}"), format!("/usr/lib/{name}")]);
    folders.chain(["/lib64", "/usr/lib64", "/lib"].map(str::to_owned)).any(|folder| {
        view.at(format!("{folder}/libc.so.6"))
            .is_ok_and(|found| matches!(view.node(found.id).kind, NodeKind::File(_)))
    })
}
