//! The probe of KVM where it works: in a guest whose processor QEMU emulates with virtualization (AMD's), and whose kernel has KVM on that.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use vm_testbed::{Initramfs, Kernel, Machine};

use crate::guest::PATIENCE;

/// A program's libraries, its loader included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8(listed.stdout)?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

#[test]
#[ignore = "needs QEMU and a guest kernel"]
fn the_probe_says_kvm_where_kvm_works() -> Result<()> {
    let kernel = Kernel::find()?;
    let keeper = Path::new(env!("CARGO_BIN_EXE_vmm-keeper"));
    let script = r#"
[ -c /dev/kvm ] || echo "probe: no /dev/kvm"
loader=$(echo /mnt/ld-linux*)
echo "probe: $(echo '{"probe":{"generation":1}}' | $loader --library-path /mnt /mnt/keeper)"
"#;
    let mut archive = Initramfs::new(&kernel, &["kvm-amd"], script)?;
    archive.file("mnt/keeper", 0o755, &std::fs::read(keeper)?);
    for library in libraries(keeper)? {
        let name = library.file_name().and_then(|name| name.to_str()).context("a library without a name")?;
        archive.file(&format!("mnt/{name}"), 0o755, &std::fs::read(&library)?);
    }
    // The emulated processor has five levels of page tables, with which nested paging does not work.
    let console = Machine::new(kernel).argument("no5lvl").argument("quiet").run(archive, PATIENCE)?;
    let said: Vec<_> = console.after("probe: ").collect();
    ensure!(said == [r#"{"probed":{"trouble":null}}"#], "{said:?}\n{}", console.tail());
    Ok(())
}
