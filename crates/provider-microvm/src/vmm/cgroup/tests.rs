//! Cgroups on trees of plain files that look like the kernel's. What the kernel does by itself is tried with real guests.

use std::io::Write as _;

use super::*;

const V1: &str = "\
28 27 0:24 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,name=systemd
29 27 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
30 27 0:26 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
31 27 0:27 / /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids
32 27 0:28 / /sys/fs/cgroup/cpuset rw,nosuid - cgroup cgroup rw,cpuset
33 27 0:29 / /proc rw - proc proc rw
";
const V2: &str = "28 27 0:24 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

/// Version 2 is mounted beside version 1 and has what that has not: the number of processes.
fn mixed() -> String {
    let first: String =
        V1.lines().filter(|line| !line.contains("pids")).map(|line| format!("{line}\n")).collect();
    first + "40 27 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
}

/// A hierarchy as files.
fn tree(root: &Path, point: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = root.join(point);
    fs::create_dir_all(&folder).unwrap();
    for (name, content) in files {
        fs::write(folder.join(name), content).unwrap();
    }
    folder
}

fn spec() -> CgroupSpec {
    CgroupSpec {
        parent: "clarateach".into(),
        name: "one".into(),
        memory_bytes: 1 << 30,
        cpu_millis: 1500,
        pids: 64,
    }
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_controllers_are_found_where_they_are() {
    let root = tempfile::tempdir().unwrap();
    let found = hierarchy::find(V1, root.path()).unwrap();
    let points: Vec<_> = found
        .iter()
        .map(|one| {
            one.folder(Path::new("")).strip_prefix(root.path()).unwrap().to_string_lossy().into_owned()
        })
        .collect();
    assert_eq!(
        points.iter().map(|point| point.trim_end_matches('/')).collect::<Vec<_>>(),
        ["sys/fs/cgroup/systemd", "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/memory", "sys/fs/cgroup/pids"]
    );
    assert!(found[0].controllers.is_empty());

    tree(root.path(), "sys/fs/cgroup", &[("cgroup.controllers", "cpuset cpu io memory pids\n")]);
    let found = hierarchy::find(V2, root.path()).unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].unified);
    assert_eq!(found[0].controllers.len(), 3);

    tree(root.path(), "sys/fs/cgroup/unified", &[("cgroup.controllers", "pids\n")]);
    let found = hierarchy::find(&mixed(), root.path()).unwrap();
    assert_eq!(found.last().unwrap().controllers, [Controller::Pids]);
}

#[test]
fn a_host_without_a_controller_is_told_which() {
    let root = tempfile::tempdir().unwrap();
    tree(root.path(), "sys/fs/cgroup", &[("cgroup.controllers", "cpu pids\n")]);
    let why = Cgroup::among(V2, root.path(), "clarateach", "one").unwrap_err();
    assert_eq!(why.kind(), io::ErrorKind::Unsupported);
    assert!(why.to_string().starts_with("this host has no cgroup controller for memory:"), "{why}");
    assert!(Cgroup::among("", root.path(), "clarateach", "one").is_err());
}

#[test]
fn version_2_hands_the_controllers_down_to_the_vm() {
    let root = tempfile::tempdir().unwrap();
    let point = tree(
        root.path(),
        "sys/fs/cgroup",
        &[
            ("cgroup.controllers", "cpu memory pids"),
            ("cgroup.subtree_control", "pids"),
            ("cgroup.procs", ""),
        ],
    );
    let parent = tree(&point, "clarateach", &[("cgroup.subtree_control", "")]);
    let leaf = tree(
        &parent,
        "one",
        &[("cgroup.procs", ""), ("memory.max", "max"), ("cpu.max", "max 100000"), ("pids.max", "max")],
    );
    let cgroup = Cgroup::among(V2, root.path(), "clarateach", "one").unwrap();
    cgroup.create(&spec()).unwrap();
    assert!(read(point.join("cgroup.subtree_control")).starts_with("+memory +cpu"));
    assert_eq!(read(parent.join("cgroup.subtree_control")), "+memory +cpu +pids");
    assert!(!leaf.join("cgroup.subtree_control").exists());
    assert!(read(leaf.join("memory.max")).starts_with("1073741824"));
    assert!(read(leaf.join("cpu.max")).starts_with("150000 100000"));
    assert!(read(leaf.join("pids.max")).starts_with("64"));
    assert_eq!(cgroup.doors().unwrap().len(), 1);

    assert!(!cgroup.ran_out_of_memory());
    fs::write(leaf.join("memory.events"), "low 0\noom 1\noom_kill 0\n").unwrap();
    assert!(!cgroup.ran_out_of_memory());
    fs::write(leaf.join("memory.events"), "low 0\noom 1\noom_kill 2\n").unwrap();
    assert!(cgroup.ran_out_of_memory());
}

#[test]
fn version_1_has_a_cgroup_in_each_hierarchy() {
    let root = tempfile::tempdir().unwrap();
    let leaf = |point: &str, files: &[(&str, &str)]| {
        tree(
            root.path(),
            &format!("sys/fs/cgroup/{point}/clarateach/one"),
            &[&[("cgroup.procs", "")], files].concat(),
        )
    };
    let cpu = leaf("cpu,cpuacct", &[("cpu.cfs_period_us", ""), ("cpu.cfs_quota_us", "")]);
    let memory = leaf("memory", &[("memory.limit_in_bytes", "")]);
    let pids = leaf("pids", &[("pids.max", "")]);
    leaf("systemd", &[]);
    let cgroup = Cgroup::among(V1, root.path(), "clarateach", "one").unwrap();
    cgroup.create(&spec()).unwrap();
    assert_eq!(read(cpu.join("cpu.cfs_quota_us")), "150000");
    assert_eq!(read(memory.join("memory.limit_in_bytes")), "1073741824");
    assert_eq!(read(pids.join("pids.max")), "64");
    assert_eq!(cgroup.doors().unwrap().len(), 4);
    fs::write(memory.join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n").unwrap();
    assert!(cgroup.ran_out_of_memory());
}

/// Removes the files of a cgroup, which the kernel does by itself when the folder goes.
fn without_files(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[test]
fn a_mixed_host_has_each_limit_in_the_hierarchy_that_has_the_controller() {
    let root = tempfile::tempdir().unwrap();
    let unified = tree(
        root.path(),
        "sys/fs/cgroup/unified",
        &[("cgroup.controllers", "pids\n"), ("cgroup.subtree_control", "")],
    );
    let parent = tree(&unified, "clarateach", &[("cgroup.subtree_control", "")]);
    let leaf = |point: &str, files: &[(&str, &str)]| {
        let all = [&[("cgroup.procs", "")], files].concat();
        tree(root.path(), &format!("sys/fs/cgroup/{point}/clarateach/one"), &all)
    };
    let systemd = leaf("systemd", &[]);
    let cpu = leaf("cpu,cpuacct", &[("cpu.cfs_period_us", ""), ("cpu.cfs_quota_us", "")]);
    let memory = leaf("memory", &[("memory.limit_in_bytes", "")]);
    let pids = leaf("unified", &[("pids.max", "max")]);
    let cgroup = Cgroup::among(&mixed(), root.path(), "clarateach", "one").unwrap();
    assert_eq!(cgroup.versions(), "version 1: cpu, memory; version 2: pids");
    cgroup.create(&spec()).unwrap();
    assert_eq!(read(cpu.join("cpu.cfs_quota_us")), "150000");
    assert_eq!(read(memory.join("memory.limit_in_bytes")), "1073741824");
    assert!(read(pids.join("pids.max")).starts_with("64"));
    // Version 2 is told of what it has, and of nothing that it has not.
    for folder in [&unified, &parent] {
        assert_eq!(read(folder.join("cgroup.subtree_control")), "+pids");
    }

    for door in cgroup.doors().unwrap() {
        fs::File::from(door).write_all(b"0").unwrap();
    }
    let all = [&systemd, &cpu, &memory, &pids];
    for leaf in all {
        assert_eq!(read(leaf.join("cgroup.procs")), "0", "{}", leaf.display());
    }

    // One that does not go is told, and keeps none of the others.
    [&systemd, &cpu, &memory].into_iter().for_each(|leaf| without_files(leaf));
    let why = cgroup.remove().unwrap_err();
    assert!(why.to_string().starts_with(&pids.display().to_string()), "{why}");
    let there = |folder: &&&PathBuf| folder.exists();
    assert_eq!(all.iter().filter(there).collect::<Vec<_>>(), [&&pids]);
    [&pids, &parent].into_iter().for_each(|folder| without_files(folder));
    cgroup.remove().unwrap();
    for point in ["systemd", "cpu,cpuacct", "memory", "unified"] {
        let point = root.path().join("sys/fs/cgroup").join(point);
        assert!(point.exists() && !point.join("clarateach").exists(), "{}", point.display());
    }
    cgroup.remove().unwrap();
}

#[test]
fn what_is_no_cgroup_gets_no_files() {
    let root = tempfile::tempdir().unwrap();
    tree(
        root.path(),
        "sys/fs/cgroup",
        &[("cgroup.controllers", "cpu memory pids"), ("cgroup.subtree_control", "")],
    );
    let cgroup = Cgroup::among(V2, root.path(), "clarateach", "one").unwrap();
    let why = cgroup.create(&spec()).unwrap_err();
    assert!(why.to_string().contains("cgroup.subtree_control"), "{why}");
    assert!(!root.path().join("sys/fs/cgroup/clarateach").exists(), "what was made is removed");
}

#[test]
fn processes_of_others_are_respected() {
    let root = tempfile::tempdir().unwrap();
    let point = tree(
        root.path(),
        "sys/fs/cgroup",
        &[("cgroup.controllers", "cpu memory pids"), ("cgroup.subtree_control", "cpu memory pids")],
    );
    let parent = tree(&point, "clarateach", &[("cgroup.subtree_control", "cpu memory pids")]);
    let leaf = tree(&parent, "one", &[("cgroup.procs", "4711\n"), ("memory.max", "max")]);
    let cgroup = Cgroup::among(V2, root.path(), "clarateach", "one").unwrap();
    assert_eq!(cgroup.create(&spec()).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    assert_eq!(read(leaf.join("memory.max")), "max");
}

#[test]
fn a_name_leads_nowhere_else() {
    for (parent, name) in [
        ("", "one"),
        ("a//b", "one"),
        ("..", "one"),
        ("a/../b", "one"),
        ("a", ".."),
        ("a", "b/c"),
        ("/a", "b"),
        ("a", ""),
    ] {
        let spec = CgroupSpec { parent: parent.into(), name: name.into(), ..spec() };
        assert!(spec.check().is_err(), "{parent} {name}");
    }
    CgroupSpec { parent: "machine.slice/clarateach".into(), ..spec() }.check().unwrap();
}
