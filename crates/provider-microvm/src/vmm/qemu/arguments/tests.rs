use std::collections::BTreeSet;

use super::*;
use crate::vmm::{Accelerator, InterfaceName, LogFile, MacAddress, Nic, RunFolder, Serial, UserIds};

fn spec() -> VmSpec {
    let drive = |serial: &str, read_only| Drive {
        path: format!("/state/{serial},one.img").into(),
        serial: Serial::new(serial).unwrap(),
        read_only,
        throttle: None,
    };
    VmSpec {
        seat: "demo/1,x".into(),
        folder: RunFolder::new("/run/seat"),
        kernel: "/boot/kernel".into(),
        initramfs: "/boot/initramfs".into(),
        command_line: " quiet ".into(),
        vcpus: 2,
        memory_mib: 512,
        drives: vec![drive("root", true), drive("data", false)],
        nics: vec![Nic { tap: InterfaceName::new("ctt0").unwrap(), mac: MacAddress([2, 0xc7, 10, 0, 0, 5]) }],
        network_namespace: None,
        user: Some(UserIds { uid: 1, gid: 2 }),
        cgroup: None,
        console: LogFile { path: "/log".into(), max_bytes: 4096, files: 1 },
        accelerator: Accelerator::Tcg,
    }
}

/// The command line with the number in the list for a descriptor.
fn words(line: &CommandLine) -> Vec<String> {
    let word = |argument: &Argument| match argument {
        Argument::Plain(text) => text.clone(),
        Argument::Descriptor(before, number, behind) => format!("{before}#{number}{behind}"),
    };
    line.arguments.iter().map(word).collect()
}

fn after<'a>(words: &'a [String], option: &str) -> Vec<&'a str> {
    words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].as_str()).collect()
}

#[test]
fn everything_on_disk_is_handed_over_open() {
    let line = CommandLine::of(&spec(), Acceleration::Tcg { buffer_mib: 64 }, &Memory::Own);
    let words = words(&line);
    assert!(
        words
            .iter()
            .all(|word| !word.contains("/state") && !word.contains("/boot") && !word.contains("/run"))
    );
    let file = |path: &str, write| Open::File { path: path.into(), write };
    assert_eq!(
        line.descriptors,
        [
            file("/boot/kernel", false),
            file("/boot/initramfs", false),
            file("/state/root,one.img", false),
            file("/state/data,one.img", true),
            Open::Tap { name: "ctt0".into() },
            Open::Listener { name: "agent.sock".into() },
            Open::Listener { name: "qmp.sock".into() },
        ]
    );
    assert_eq!(after(&words, "-kernel"), ["/proc/self/fd/#0"]);
    assert_eq!(after(&words, "-add-fd"), ["set=2,fd=#2", "set=3,fd=#3"]);
    assert_eq!(
        after(&words, "-blockdev")[1],
        "driver=raw,node-name=node-data,read-only=off,discard=unmap,\
         file.driver=file,file.filename=/dev/fdset/3,file.discard=unmap"
    );
    assert_eq!(after(&words, "-netdev"), ["tap,id=net0,vhost=off,fd=#4"]);
    assert!(
        after(&words, "-device").contains(&"virtio-net-device,id=nic0,netdev=net0,mac=02:c7:0a:00:00:05")
    );
    assert!(after(&words, "-device").contains(&"virtio-blk-device,id=disk-root,drive=node-root,serial=root"));
    let used: BTreeSet<_> = line
        .arguments
        .iter()
        .filter_map(|argument| match argument {
            Argument::Descriptor(_, number, _) => Some(*number),
            Argument::Plain(_) => None,
        })
        .collect();
    assert_eq!(used, (0..line.descriptors.len()).collect());
}

#[test]
fn the_machine_is_small_and_shut_in() {
    let line = words(&CommandLine::of(&spec(), Acceleration::Tcg { buffer_mib: 64 }, &Memory::Own));
    for word in ["-nodefaults", "-no-user-config", "-no-reboot", "-S"] {
        assert!(line.iter().any(|one| one == word), "{word}");
    }
    assert_eq!(
        after(&line, "-sandbox"),
        ["on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    );
    assert_eq!(after(&line, "-name"), ["guest=demo/1,,x,debug-threads=on"]);
    assert_eq!(after(&line, "-m"), ["512M"]);
    assert_eq!(after(&line, "-smp"), ["2"]);
}

#[test]
fn the_clock_is_given_only_where_it_cannot_be_calibrated() {
    let words_of = |acceleration| words(&CommandLine::of(&spec(), acceleration, &Memory::Own));
    let tcg = words_of(Acceleration::Tcg { buffer_mib: 64 });
    assert_eq!(after(&tcg, "-accel"), ["tcg,tb-size=64"]);
    assert_eq!(
        after(&tcg, "-append"),
        ["console=ttyS0 reboot=t panic=-1 tsc_early_khz=2000000 lpj=4000000 tsc=reliable quiet"]
    );
    let kvm = words_of(Acceleration::Kvm);
    assert_eq!((after(&kvm, "-accel"), after(&kvm, "-cpu")), (vec!["kvm"], vec!["host"]));
    assert_eq!(after(&kvm, "-append"), ["console=ttyS0 reboot=t panic=-1 quiet"]);
}

#[test]
fn what_is_out_of_bounds_is_said() {
    let said = |change: fn(&mut VmSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec.check().unwrap_err().to_string()
    };
    spec().check().unwrap();
    assert_eq!(said(|spec| spec.vcpus = 0), "1 to 64 virtual processors are possible");
    assert_eq!(said(|spec| spec.memory_mib = 63), "a guest needs at least 64 MiB of memory");
    assert_eq!(said(|spec| spec.drives.push(spec.drives[0].clone())), "two drives have the same serial");
    assert_eq!(
        said(|spec| spec.nics.push(spec.nics[0].clone())),
        "at most one network interface is possible"
    );
    assert!(said(|spec| spec.command_line.push('\n')).contains("control character"));
    assert!(Serial::new("").is_err() && Serial::new("a,b").is_err() && Serial::new(&"a".repeat(21)).is_err());
    for name in ["", "..", "a/b", "a b", "a,b", "a:b", "sixteen-bytes-xx"] {
        assert!(InterfaceName::new(name).is_err(), "{name}");
    }
}

#[test]
fn memory_is_the_vms_own_or_of_a_file_that_is_handed_over_open() {
    let line = |memory| CommandLine::of(&spec(), Acceleration::Tcg { buffer_mib: 64 }, &memory);
    let own = words(&line(Memory::Own));
    assert_eq!(after(&own, "-object")[0], "memory-backend-ram,id=memory,size=512M");
    assert!(after(&own, "-incoming").is_empty());
    for (memory, share, write) in
        [(Memory::In("/proc/7/fd/9".into()), "on", true), (Memory::Of("/proc/7/fd/9".into()), "off", false)]
    {
        let line = line(memory);
        assert_eq!(line.descriptors[0], Open::File { path: "/proc/7/fd/9".into(), write });
        let words = words(&line);
        let backend =
            format!("memory-backend-file,id=memory,size=512M,share={share},mem-path=/proc/self/fd/#0");
        assert_eq!(after(&words, "-object")[0], backend);
        assert_eq!(after(&words, "-incoming").is_empty(), write);
        // The disks' sets still have the numbers of what is in them.
        assert_eq!(after(&words, "-add-fd"), ["set=3,fd=#3", "set=4,fd=#4"]);
    }
}

#[test]
fn the_machine_is_the_same_for_all_seats() {
    let machine = |change: fn(&mut VmSpec)| {
        let mut spec = spec();
        change(&mut spec);
        CommandLine::machine_of(&spec, Acceleration::Tcg { buffer_mib: 64 })
    };
    let one = machine(|_| ());
    let other = machine(|spec| {
        spec.seat = "demo/2".into();
        spec.nics[0].mac = MacAddress([2, 0xc7, 10, 0, 0, 6]);
        spec.nics[0].tap = InterfaceName::new("ctt1").unwrap();
        spec.drives[1].path = "/state/other.img".into();
        spec.folder = RunFolder::new("/run/other");
        spec.user = Some(UserIds { uid: 8, gid: 9 });
    });
    assert_eq!(one, other);
    assert!(!one.iter().any(|word| word.contains("demo") || word.contains("02:c7")));
    let changes: [fn(&mut VmSpec); 4] = [
        |spec| spec.vcpus = 1,
        |spec| spec.command_line.push('x'),
        |spec| spec.drives[1].read_only = true,
        |spec| spec.nics.clear(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_ne!(one, machine(change), "{number}");
    }
}
