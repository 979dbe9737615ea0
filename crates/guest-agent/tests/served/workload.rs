//! The image's program: its ends, its starts, what it says.

use std::time::Duration;

use guest_protocol::client::{ClientError, LogSource};
use guest_protocol::{EnvVar, Exit, LogQuery, Phase, ProblemCode, RestartPolicy, Signal, WorkloadState};

use super::agent::{Served, config, gone, lives, wait, within};

#[tokio::test]
async fn one_that_dies_is_started_again_and_reported() {
    let served = Served::start().await;
    let agent = served.connect().await;
    let mut config = config("echo boom: no licence file for $TOKEN >&2; exit 3");
    config.env = vec![EnvVar::secret("TOKEN", "sk-canary-agent"), EnvVar::open("SEAT", "7")];
    agent.configure(&config).await.unwrap();
    let health = wait(&agent, |health| {
        health.workload.restarts >= 3 && health.workload.state == WorkloadState::BackOff
    })
    .await;
    assert_eq!(health.workload.last_exit, Some(Exit::Code(3)));
    // The health quotes no secret; the log is the seat's own and has everything.
    assert_eq!(health.workload.last_line.as_deref(), Some("boom: no licence file for [redacted]"));
    assert_eq!((health.phase, health.workload.pid), (Phase::Running, None));
}

#[tokio::test]
async fn the_restart_policy_is_followed() {
    for (policy, code, again) in [
        (RestartPolicy::Never, 1, false),
        (RestartPolicy::OnFailure, 0, false),
        (RestartPolicy::OnFailure, 1, true),
        (RestartPolicy::UnlessStopped, 0, true),
    ] {
        let served = Served::start().await;
        let agent = served.connect().await;
        let mut config = config(&format!("exit {code}"));
        config.restart.policy = policy;
        agent.configure(&config).await.unwrap();
        let health = wait(&agent, |health| {
            health.workload.state == WorkloadState::Exited || health.workload.restarts > 0
        })
        .await;
        assert_eq!(health.workload.restarts > 0, again, "{policy:?} {code}");
    }
}

#[tokio::test]
async fn a_signal_that_ends_it_is_told() {
    let (_served, agent) = Served::with("kill -9 $$").await;
    let health = wait(&agent, |health| health.workload.last_exit.is_some()).await;
    assert_eq!(health.workload.last_exit, Some(Exit::Signal(Signal::KILL)));
    assert_eq!(health.workload.last_exit.unwrap().code(), 137);
}

#[tokio::test]
async fn what_cannot_begin_says_so_in_words() {
    for (entrypoint, user, words) in [
        (vec![], "", "neither an entrypoint nor a command"),
        (vec!["/no/such/program"], "", "/no/such/program is not in the image"),
        (vec!["no-such-program"], "", "is in none of the folders of PATH"),
        (vec!["/etc"], "", "/etc is no file"),
        (vec!["/etc/passwd"], "", "chmod +x"),
        (vec!["/bin/sh"], "nobody-at-all", "\"nobody-at-all\" is not in the image's /etc/passwd"),
        (vec!["/bin/sh"], "root:no-group", "\"no-group\" is not in the image's /etc/group"),
    ] {
        let served = Served::start().await;
        let agent = served.connect().await;
        let mut config = config("");
        config.run.entrypoint = entrypoint.into_iter().map(str::to_owned).collect();
        config.run.user = user.into();
        agent.configure(&config).await.unwrap();
        let health = wait(&agent, |health| health.workload.state == WorkloadState::Failed).await;
        let reason = health.workload.reason.unwrap();
        assert!(reason.contains(words), "{reason}");
        assert_eq!(health.workload.restarts, 0);
    }
}

#[tokio::test]
async fn what_it_started_ends_with_it_and_orphans_are_reaped() {
    let served = Served::start().await;
    let agent = served.connect().await;
    let folder = served.folder.path();
    let mut config = config(
        "sleep 1000 & echo $! > orphan.new; mv orphan.new orphan; (sleep 0.01 & echo $! > late); while [ ! -e end ]; do sleep 0.01; done",
    );
    config.run.working_dir = folder.to_str().unwrap().into();
    config.restart.policy = RestartPolicy::Never;
    agent.configure(&config).await.unwrap();
    let read = async |name: &str| {
        within(async {
            loop {
                match std::fs::read_to_string(folder.join(name)).map(|text| text.trim().parse::<u32>()) {
                    Ok(Ok(pid)) => return pid,
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        })
        .await
    };
    let (orphan, late) = (read("orphan").await, read("late").await);
    // Its parent has ended, so it is the agent's to reap.
    gone(late).await;
    assert!(lives(orphan));
    std::fs::write(folder.join("end"), "").unwrap();
    wait(&agent, |health| health.workload.state == WorkloadState::Exited).await;
    gone(orphan).await;
}

#[tokio::test]
async fn the_log_has_both_outputs_in_order_and_goes_on() {
    let (_served, agent) = Served::with(
        "echo one; echo two >&2; printf 'three'; echo; i=0; while [ $i -lt 3 ]; do i=$((i + 1)); sleep 0.05; echo more $i; done; exec sleep 1000",
    )
    .await;
    let mut logs = agent.logs(LogQuery { tail: None, follow: true }).await.unwrap();
    let mut lines = Vec::new();
    while lines.len() < 6 {
        let line = within(logs.next()).await.unwrap().unwrap();
        assert!(line.unix_ms > 1_700_000_000_000);
        lines.push((line.source, String::from_utf8(line.bytes.to_vec()).unwrap()));
    }
    assert!(lines.contains(&(LogSource::Err, "two\n".into())));
    let out: String =
        lines.iter().filter(|(source, _)| *source == LogSource::Out).map(|(_, text)| text.as_str()).collect();
    assert_eq!(out, "one\nthree\nmore 1\nmore 2\nmore 3\n");

    let mut tail = agent.logs(LogQuery { tail: Some(1), follow: false }).await.unwrap();
    assert_eq!(&within(tail.next()).await.unwrap().unwrap().bytes[..], b"more 3\n");
    assert_eq!(within(tail.next()).await.unwrap(), None);
}

/// Nobody reads, and it writes on: the workload does not wait for a reader.
#[tokio::test]
async fn a_reader_who_is_slow_holds_up_nobody() {
    let (served, agent) = Served::with(
        "i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); echo $i $(printf %0400d $i); done; echo the end; exec sleep 1000",
    )
    .await;
    let mut slow = agent.logs(LogQuery { tail: None, follow: true }).await.unwrap();
    let other = served.connect().await;
    drop(other);
    let again = served.connect().await;
    within(async {
        loop {
            let mut logs = again.logs(LogQuery { tail: Some(1), follow: false }).await.unwrap();
            match logs.next().await.unwrap() {
                Some(line) if &line.bytes[..] == b"the end\n" => return,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await;
    // Its link has ended: a new one ends the old.
    within(async { while let Ok(Some(_)) = slow.next().await {} }).await;
}

#[tokio::test]
async fn stopping_gives_it_its_signal_and_then_no_choice() {
    // One that ends when it is asked to.
    let (mut served, agent) =
        Served::with("trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.01; done").await;
    let mut logs = agent.logs(LogQuery { tail: None, follow: true }).await.unwrap();
    assert_eq!(&within(logs.next()).await.unwrap().unwrap().bytes[..], b"ready\n");
    let mut watch = agent.watch().await.unwrap();
    agent.stop(Duration::from_secs(60)).await.unwrap();
    assert_eq!(&within(logs.next()).await.unwrap().unwrap().bytes[..], b"asked\n");
    let mut last = None;
    while let Ok(Some(health)) = within(watch.next()).await {
        last = Some(health);
    }
    let last = last.unwrap();
    assert_eq!((last.phase, last.workload.state), (Phase::Stopping, WorkloadState::Exited));
    assert_eq!(last.workload.last_exit, Some(Exit::Code(0)));
    assert!(within(served.process.wait()).await.unwrap().success());
    assert!(!served.socket().exists());

    // One that does not.
    let (mut served, agent) = Served::with("trap '' TERM; while :; do sleep 0.01; done").await;
    let pid = agent.health().await.unwrap().workload.pid.unwrap();
    agent.stop(Duration::from_millis(100)).await.unwrap();
    assert!(within(served.process.wait()).await.unwrap().success());
    assert!(!lives(pid));
}

#[tokio::test]
async fn the_images_own_stop_signal_is_used() {
    let served = Served::start().await;
    let agent = served.connect().await;
    let mut config = config("trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done");
    config.run.stop_signal = "SIGUSR1".into();
    agent.configure(&config).await.unwrap();
    let mut logs = agent.logs(LogQuery { tail: None, follow: true }).await.unwrap();
    within(logs.next()).await.unwrap().unwrap();
    let mut watch = agent.watch().await.unwrap();
    agent.stop(Duration::from_secs(60)).await.unwrap();
    let mut exits = Vec::new();
    while let Ok(Some(health)) = within(watch.next()).await {
        exits.extend(health.workload.last_exit);
    }
    assert_eq!(exits.last(), Some(&Exit::Code(9)));
}

#[tokio::test]
async fn a_signal_of_the_hosts_reaches_it() {
    let (_served, agent) =
        Served::with("trap 'echo heard' HUP; echo ready; while :; do sleep 0.01; done").await;
    let mut logs = agent.logs(LogQuery { tail: None, follow: true }).await.unwrap();
    assert_eq!(&within(logs.next()).await.unwrap().unwrap().bytes[..], b"ready\n");
    agent.signal(Signal::HUP).await.unwrap();
    assert_eq!(&within(logs.next()).await.unwrap().unwrap().bytes[..], b"heard\n");
    // In a guest it would end with the agent.
    agent.stop(Duration::from_secs(60)).await.unwrap();

    let (_served, agent) = Served::with("exit 0").await;
    wait(&agent, |health| health.workload.last_exit.is_some()).await;
    // Between two runs there is nobody, and while one runs it may end before it hears.
    if let Err(error) = agent.signal(Signal::HUP).await {
        let ClientError::Refused { problem, .. } = error else { panic!("{error}") };
        assert_eq!(problem.code, ProblemCode::Conflict);
    }
}
