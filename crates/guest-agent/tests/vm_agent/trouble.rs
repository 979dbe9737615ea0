//! What is wrong with images and machines, in words.

use guest_protocol::{Exit, Health, LogQuery, Network, Phase, RestartPolicy, WorkloadState};
use rootfs::build::Options;
use vm_testbed::{Disk, Initramfs, Kernel, Machine};

use super::guest::{Guest, LIMIT, MODULES};
use super::image::Image;

/// Boots an image whose workload cannot begin; why.
async fn refused(image: Image) -> String {
    let mut guest = Guest::boot(image);
    let (agent, health) = guest.configured(|health| health.workload.state != WorkloadState::None).await;
    assert_eq!(health.workload.state, WorkloadState::Failed, "{health:?}");
    assert_eq!(health.phase, Phase::Running);
    let reason = health.workload.reason.unwrap();
    agent.stop(std::time::Duration::ZERO).await.unwrap();
    let console = guest.ended().await;
    assert!(console.contains(&format!("clarateach-agent: rust-101/7: {reason}")), "{console}");
    reason
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn an_entrypoint_that_is_missing() {
    if super::can_run() {
        let mut image = Image::busybox();
        image.run.entrypoint = vec!["/opt/server".into()];
        assert_eq!(refused(image).await, "the program /opt/server is not in the image");
    }
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn an_entrypoint_for_another_processor() {
    if super::can_run() {
        let mut image = Image::busybox();
        let mut program = vec![0; 4096];
        program[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0");
        image.file("server", 0o755, (0, 0), &program);
        image.run.entrypoint = vec!["/server".into()];
        assert_eq!(refused(image).await, "the program /server is for arm64, and this machine is amd64");
    }
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_user_that_is_not_in_the_image() {
    if super::can_run() {
        let mut image = Image::busybox().runs("exit 0");
        image.run.user = "teacher".into();
        let reason = refused(image).await;
        assert!(reason.starts_with("the user \"teacher\" is not in the image's /etc/passwd"), "{reason}");
    }
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn one_that_exits_is_started_again_and_one_without_a_shell_runs() {
    if !super::can_run() {
        return;
    }
    // No shell, no /etc, no folders at all: one program.
    let mut image = Image::empty();
    let busybox = std::fs::read(Kernel::find().unwrap().busybox()).unwrap();
    image.file("busybox", 0o755, (0, 0), &busybox);
    image.run.entrypoint = vec!["/busybox".into(), "cat".into(), "/no/licence".into()];
    image.run.user = "1234:99".into();
    let mut guest = Guest::boot(image);
    let again =
        |health: &Health| health.workload.restarts >= 2 && health.workload.state == WorkloadState::BackOff;
    let (agent, health) = guest.configured(again).await;
    assert_eq!((health.phase, health.reason), (Phase::Running, None));
    assert_eq!(health.workload.last_exit, Some(Exit::Code(1)));
    assert_eq!(
        health.workload.last_line.as_deref(),
        Some("cat: can't open '/no/licence': No such file or directory")
    );
    agent.stop(std::time::Duration::ZERO).await.unwrap();
    let console = guest.ended().await;
    assert!(!console.contains("clarateach-agent: rust-101/7"), "nothing went wrong: {console}");
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_machine_without_its_interface_or_disks_says_so() {
    if !super::can_run() {
        return;
    }
    let mut guest = Guest::boot(Image::busybox().runs("exit 0"));
    let agent = guest.connect().await;
    let mut config = guest.config();
    config.restart.policy = RestartPolicy::Never;
    let mac = "02:c7:0a:00:00:05".parse().unwrap();
    config.network = Some(Network {
        mac,
        address: [10, 0, 0, 5].into(),
        prefix: 24,
        gateway: Some([10, 0, 0, 1].into()),
        mtu: None,
    });
    agent.configure(&config).await.unwrap();
    let health = guest.wait(&agent, |health| health.phase == Phase::Failed).await;
    let reason = health.reason.unwrap();
    assert!(reason.contains("no interface has the hardware address 02:c7:0a:00:00:05"), "{reason}");
    assert_eq!(health.workload.state, WorkloadState::None);
    agent.stop(std::time::Duration::ZERO).await.unwrap();
    let console = guest.ended().await;
    assert!(console.contains(&format!("clarateach-agent: rust-101/7: {reason}")), "{console}");
}

/// Without the port nobody can tell it anything: it says so and ends.
#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_machine_without_its_port_says_so_and_ends() {
    if !super::can_run() {
        return;
    }
    let console = tokio::task::spawn_blocking(|| {
        let kernel = Kernel::find().unwrap();
        let agent = vm_testbed::agent().unwrap();
        // Without its module there is no port, whatever the machine has.
        let modules: Vec<_> = MODULES.into_iter().filter(|name| *name != "virtio_console").collect();
        let initramfs = Initramfs::of_agent(&kernel, &modules, &agent).unwrap();
        Machine::new(kernel).run(initramfs, LIMIT).unwrap()
    });
    let console = console.await.unwrap();
    let said = console.after("clarateach-agent: ").last().unwrap_or_default().to_owned();
    assert!(said.contains("no virtio-serial port is named clarateach.agent"), "{}", console.tail());
}

/// Before it says that it waits for its host, which no sleep of its would ever let answer.
#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_machine_without_a_timer_says_so_and_ends() {
    if !super::can_run() {
        return;
    }
    let console = tokio::task::spawn_blocking(|| {
        let kernel = Kernel::find().unwrap();
        let initramfs = Initramfs::of_agent(&kernel, &MODULES, &vm_testbed::agent().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::new(kernel).port(guest_protocol::PORT, &folder.path().join("agent"));
        machine.without_timer().run(initramfs, LIMIT).unwrap()
    });
    let console = console.await.unwrap();
    let said: Vec<_> = console.after("clarateach-agent: ").collect();
    assert!(said.len() == 1 && said[0].starts_with(guest_protocol::NO_TIMER), "{}", console.tail());
}

/// A disk that holds no file system, and one that is not there.
#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_disk_without_a_file_system_says_so() {
    if !super::can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = Image::busybox().runs("exit 0").build(&folder.path().join("root"), &Options::default());
    let blank = folder.path().join("blank");
    std::fs::File::create(&blank).unwrap().set_len(16 << 20).unwrap();
    let mut guest = Guest::with(folder, run, |machine, folder| {
        machine
            .named_disk("root", Disk { file: folder.join("root"), writable: false })
            .named_disk("scratch", Disk { file: folder.join("blank"), writable: true })
    });
    let (agent, health) = guest.configured(|health| health.phase == Phase::Failed).await;
    let reason = health.reason.unwrap();
    assert!(reason.starts_with("the disk \"scratch\" (vd") && reason.contains("no ext4"), "{reason}");
    agent.stop(std::time::Duration::ZERO).await.unwrap();
    guest.ended().await;
}

/// A learner who is root sets a kernel limit that leaves the agent without another thread, once those that it had are gone. It then finds no way to end the
/// machine in order, which is a defect of its own: that is said, and the machine ends all the same.
#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_defect_of_the_agent_is_said_and_ends_the_machine() {
    if !super::can_run() {
        return;
    }
    // By nothing but the shell itself, which may not start programs any more. One thread of the agent's stays.
    let script = "while set -- /proc/1/task/*; [ $# -gt 1 ]; do :; done
        echo 1 > /proc/sys/kernel/threads-max; echo no more; while :; do :; done";
    let mut guest = Guest::boot(Image::busybox().runs(script));
    let (agent, _) = guest.configured(|health| health.workload.state == WorkloadState::Running).await;
    let mut logs = agent.logs(LogQuery { tail: None, follow: true }).await.unwrap();
    let line = tokio::time::timeout(LIMIT, logs.next()).await;
    let line = line.unwrap_or_else(|_| panic!("the agent keeps its threads\n{}", guest.console()));
    assert_eq!(&line.unwrap().unwrap().bytes[..], b"no more\n");
    // Whether it answers in time is open: it ends.
    drop(agent.stop(std::time::Duration::ZERO).await);
    let console = guest.ended().await;
    let said: Vec<_> =
        console.lines().filter_map(|line| line.trim_end().strip_prefix("clarateach-agent: ")).collect();
    let defect = "this is a defect of the agent: panicked at ";
    let at = said.iter().position(|line| line.starts_with(defect)).unwrap_or_else(|| panic!("{console}"));
    assert!(said[at].contains("OS can't spawn worker thread"), "{console}");
    assert_eq!(said[at + 1..], ["the machine ends"], "{console}");
}
