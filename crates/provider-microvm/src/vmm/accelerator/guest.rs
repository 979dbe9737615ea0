//! The smallest guest that tells whether a kernel would run.
//!
//! ```text
//!   address 0      1000        2000   3000   4000   5000            6000 … 10000
//!           code   handler     GDT    IDT    PML4   PDPT → one page of 1 GiB        stack, from its end
//! ```
//!
//! It runs in 64-bit mode with paging and does what a kernel does in its first second: counts, which takes milliseconds on a processor and minutes where every
//! instruction is emulated; uses SSE; takes an exception through its interrupt table and returns from it; loads its page tables anew; and says on a
//! port that it got there.

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_dtable, kvm_regs, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit};

const CODE: u64 = 0;
const HANDLER: u64 = 0x1000;
const GDT: u64 = 0x2000;
const IDT: u64 = 0x3000;
const PML4: u64 = 0x4000;
const PDPT: u64 = 0x5000;
const PD: u64 = 0x6000;
const SIZE: usize = 0x1_0000;
/// A port of no device.
const PORT: u16 = 0x0abc;
const WORD: u8 = b'K';

/// Two instructions a turn: some 10 ms on a processor.
const TURNS: u32 = 20_000_000;

#[repr(C, align(4096))]
struct Memory([u8; SIZE]);

/// Runs it, as long as it takes: to be called in a process that can be killed. What went wrong is told in words.
pub(super) fn run() -> Result<(), String> {
    let step = |what: &'static str| move |why: kvm_ioctls::Error| format!("{what}: {why}");
    let kvm = Kvm::new().map_err(step("/dev/kvm cannot be opened"))?;
    let version = kvm.get_api_version();
    // The only one there will ever be (Documentation/virt/kvm/api.rst, 4.1 KVM_GET_API_VERSION).
    if version != 12 {
        return Err(format!("/dev/kvm speaks version {version}"));
    }
    let mut memory = Box::new(Memory([0; SIZE]));
    fill(&mut memory.0);
    let vm = kvm.create_vm().map_err(step("KVM makes no VM"))?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: SIZE as u64,
        userspace_addr: (&raw mut *memory) as u64,
    };
    #[expect(unsafe_code, reason = "the guest writes to this memory behind the compiler's back")]
    // SAFETY: the memory is page-aligned, of that size, and outlives the VM, which is dropped first; nothing here reads it again.
    unsafe { vm.set_user_memory_region(region) }.map_err(step("KVM takes no memory"))?;
    let mut vcpu = vm.create_vcpu(0).map_err(step("KVM makes no processor"))?;
    let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(step("KVM tells no features"))?;
    vcpu.set_cpuid2(&cpuid).map_err(step("KVM takes no features"))?;

    let mut special = vcpu.get_sregs().map_err(step("KVM tells no registers"))?;
    let segment = |selector, type_, long, present_db| kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_,
        present: 1,
        dpl: 0,
        db: present_db,
        s: 1,
        l: long,
        g: 1,
        ..Default::default()
    };
    special.cs = segment(8, 11, 1, 0);
    let data = segment(16, 3, 0, 1);
    (special.ds, special.es, special.fs, special.gs, special.ss) = (data, data, data, data, data);
    special.tr = kvm_segment { base: 0, limit: 0xffff, type_: 11, present: 1, ..Default::default() };
    special.gdt = kvm_dtable { base: GDT, limit: 23, ..Default::default() };
    special.idt = kvm_dtable { base: IDT, limit: 0x1ff, ..Default::default() };
    // Protection, extension type, numeric errors, write protection, paging; physical address extension, SSE; long mode (AMD64 manual, volume 2, 14.6).
    special.cr0 = 0x8001_0033;
    special.cr3 = PML4;
    special.cr4 = 0x620;
    special.efer = 0x500;
    vcpu.set_sregs(&special).map_err(step("KVM takes no registers"))?;
    let registers = kvm_regs { rip: CODE, rsp: SIZE as u64, rflags: 2, ..Default::default() };
    vcpu.set_regs(&registers).map_err(step("KVM takes no registers"))?;
    match vcpu.run() {
        Ok(VcpuExit::IoOut(PORT, [WORD])) => Ok(()),
        Ok(other) => Err(format!("a guest in 64-bit mode does not run: it ended with {other:?}")),
        Err(why) => Err(format!("a guest in 64-bit mode does not run: {why}")),
    }
}

fn fill(memory: &mut [u8; SIZE]) {
    let mut put = |at: u64, bytes: &[u8]| {
        let at = usize::try_from(at).unwrap_or(SIZE);
        memory[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let mut code = vec![0xb9]; // mov ecx, TURNS
    code.extend(TURNS.to_le_bytes());
    code.extend([0xff, 0xc9, 0x75, 0xfc]); // again: dec ecx; jnz again
    code.extend([0x66, 0x0f, 0x6e, 0xc1]); // movd xmm0, ecx
    code.extend([0x0f, 0x0b]); // ud2, which the handler skips
    code.extend([0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8]); // mov rax, cr3; mov cr3, rax
    code.extend([0x31, 0xc0, 0x0f, 0xa2]); // xor eax, eax; cpuid
    code.extend([0x66, 0xba]); // mov dx, PORT
    code.extend(PORT.to_le_bytes());
    code.extend([0xb0, WORD, 0xee, 0xf4]); // mov al, WORD; out dx, al; hlt
    put(CODE, &code);
    put(HANDLER, &[0x48, 0x83, 0x04, 0x24, 0x02, 0x48, 0xcf]); // add qword [rsp], 2; iretq
    put(GDT + 8, &0x00af_9b00_0000_ffff_u64.to_le_bytes());
    put(GDT + 16, &0x00cf_9300_0000_ffff_u64.to_le_bytes());
    // An interrupt gate for "invalid opcode", number 6, with the code segment 8.
    let gate = (HANDLER & 0xffff) | 8 << 16 | 0x8e00 << 32 | (HANDLER >> 16 & 0xffff) << 48;
    put(IDT + 6 * 16, &gate.to_le_bytes());
    put(PML4, &(PDPT | 3).to_le_bytes());
    put(PDPT, &(PD | 3).to_le_bytes());
    // Present, writable, large: the first two MiB as they are.
    put(PD, &0x83_u64.to_le_bytes());
}
