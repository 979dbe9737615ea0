//! The header of a bzImage (Documentation/arch/x86/boot.rst of the kernel, "The Real-Mode Kernel Header").

use std::io;

use crate::Architecture;
use crate::decompress::{Packing, unpack};

/// Offsets in the file.
const SETUP_SECTORS: usize = 0x1f1;
const SIZE: usize = 0x1f4;
const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
const PROTOCOL: usize = 0x206;
const VERSION: usize = 0x20e;
const LOAD_FLAGS: usize = 0x211;
const EXTENDED_FLAGS: usize = 0x236;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_SIZE: usize = 0x24c;
/// Where the magic of an arm64 `Image` is (Documentation/arch/arm64/booting.rst).
const ARM64_MAGIC: usize = 0x38;
/// `XLF_KERNEL_64`: it has a 64-bit entry.
const HAS_64_BIT_ENTRY: u16 = 1;
/// `LOADED_HIGH`: a bzImage and no zImage.
const LOADED_HIGH: u8 = 1;
/// The protocol that brought the payload's place and the extended flags.
const OLDEST_PROTOCOL: u16 = 0x20c;

/// The processor and the version; or what is wrong, as the end of a sentence.
pub(super) fn read(bytes: &[u8]) -> Result<(Architecture, String), String> {
    let boots = u16_at(bytes, BOOT_FLAG) == Some(0xaa55) && bytes.get(MAGIC..MAGIC + 4) == Some(b"HdrS");
    if !boots {
        return Err(other(bytes));
    }
    let protocol = u16_at(bytes, PROTOCOL).unwrap_or(0);
    if protocol < OLDEST_PROTOCOL || bytes.get(LOAD_FLAGS).is_none_or(|flags| flags & LOADED_HIGH == 0) {
        return Err(format!(
            "its boot protocol {}.{:02} is from before Linux 3.8",
            protocol >> 8,
            protocol & 0xff
        ));
    }
    let whole = setup_size(bytes) + u32_at(bytes, SIZE).unwrap_or(0) as usize * 16;
    if bytes.len() < whole {
        return Err(format!("it is cut off: {} of {whole} bytes are there", bytes.len()));
    }
    let wide = u16_at(bytes, EXTENDED_FLAGS).is_some_and(|flags| flags & HAS_64_BIT_ENTRY != 0);
    let version = u16_at(bytes, VERSION).filter(|offset| *offset != 0).and_then(|offset| {
        let text = bytes.get(usize::from(offset) + 0x200..)?.split(|byte| *byte == 0).next()?;
        std::str::from_utf8(text).ok()?.split_whitespace().next().map(str::to_owned)
    });
    let version = version.ok_or("its header names no version")?;
    Ok((if wide { Architecture::X86_64 } else { Architecture::I386 }, version))
}

/// The ELF file that it unpacks.
pub(super) fn payload(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let damaged = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let from = setup_size(bytes) + u32_at(bytes, PAYLOAD_OFFSET).unwrap_or(0) as usize;
    let size = u32_at(bytes, PAYLOAD_SIZE).unwrap_or(0) as usize;
    let packed = from.checked_add(size).and_then(|to| bytes.get(from..to));
    let packed = packed.filter(|packed| packed.len() > 4);
    let packed = packed.ok_or_else(|| damaged("its header names no packed kernel"))?;
    let packing = Packing::of(packed).ok_or_else(|| damaged("it is packed in an unknown way"))?;
    // The build adds the size of what is unpacked, four bytes, after the stream (`size_append` of scripts/Makefile.lib); gzip has it itself.
    let stream = if packing == Packing::Gzip { packed } else { &packed[..packed.len() - 4] };
    unpack(packing, stream, super::MAX_KERNEL)
}

/// What else the file may be.
fn other(bytes: &[u8]) -> String {
    if bytes.get(ARM64_MAGIC..ARM64_MAGIC + 4) == Some(b"ARM\x64") {
        return "it is a kernel for aarch64 (Image); microVMs on such machines are not supported yet".into();
    }
    match Packing::of(bytes) {
        Some(_) => "it is a packed file and no kernel yet; unpack it first".into(),
        None if bytes.len() < PAYLOAD_SIZE + 4 => "it is too short to be a kernel".into(),
        None => "it is neither a bzImage nor an ELF file".into(),
    }
}

/// The part before the protected-mode kernel, in bytes; 0 sectors mean 4.
fn setup_size(bytes: &[u8]) -> usize {
    let sectors = usize::from(bytes.get(SETUP_SECTORS).copied().unwrap_or(0));
    (if sectors == 0 { 4 } else { sectors } + 1) * 512
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}
