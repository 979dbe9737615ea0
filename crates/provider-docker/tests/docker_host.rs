//! What the host and its engine can do to seats: addresses that run out, volumes in use, disks that are full,
//! networks that others share.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod common;

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, NetworkCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
    StartContainerOptions,
};
use docker_testbed::{Host, IMAGE, PrivateEngine};
use futures_util::future::join_all;
use provider_docker::DockerConfig;
use seats::{DataPolicy, Limits, ObjectKind, Provider, ProviderError, Status, Timeline, WorkshopId};

/// A container that is not ours, with the given host settings.
async fn stranger(host: &Host, name: &str, settings: HostConfig) {
    let body = ContainerCreateBody {
        image: Some(IMAGE.into()),
        host_config: Some(settings),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    host.docker.create_container(Some(options), body).await.unwrap();
    host.docker.start_container(name, None::<StartContainerOptions>).await.unwrap();
}

async fn remove(host: &Host, name: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    host.docker.remove_container(name, Some(options)).await.unwrap();
}

async fn clean(host: &Host, workshop: &WorkshopId) {
    common::provider(common::config(host)).destroy_workshop(workshop, DataPolicy::Remove).await.unwrap();
    let remains = host.remains(workshop).await.unwrap();
    assert!(remains.is_empty(), "{remains}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_pool_that_is_used_up_is_named_and_leaves_nothing() {
    let host = Host::of_this_machine().await.unwrap();
    let pool = "10.222.0.0/24".parse().unwrap();
    let provider = common::provider(DockerConfig { pool, ..common::config(&host) });
    let workshops: Vec<_> = (0..3).map(|_| common::workshop()).collect();
    // Two subnets of /25, three workshops at the same time, from two services.
    let second = common::provider(DockerConfig { pool, ..common::config(&host) });
    let made =
        join_all(
            workshops.iter().enumerate().map(|(index, workshop)| {
                let provider = if index % 2 == 0 { provider.clone() } else { second.clone() };
                async move {
                    provider.create(&common::spec(common::seat(workshop, 1)), &Timeline::default()).await
                }
            }),
        )
        .await;
    let refused: Vec<_> =
        made.iter().enumerate().filter_map(|(at, made)| Some((at, made.as_ref().err()?))).collect();
    let [(loser, error)] = refused.as_slice() else { panic!("one of three: {made:?}") };
    assert_eq!(error.code(), "addresses_exhausted");
    assert!(error.to_string().contains("all 2 subnets of size /25 in the pool 10.222.0.0/24"), "{error}");
    assert!(host.remains(&workshops[*loser]).await.unwrap().is_empty());
    // A destroyed workshop's addresses are free again.
    provider.destroy_workshop(&workshops[(loser + 1) % 3], DataPolicy::Remove).await.unwrap();
    provider.create(&common::spec(common::seat(&workshops[*loser], 1)), &Timeline::default()).await.unwrap();
    for workshop in &workshops {
        clean(&host, workshop).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn workshops_that_race_get_disjoint_subnets() {
    let host = Host::of_this_machine().await.unwrap();
    let pool = "10.217.0.0/20".parse().unwrap();
    let services: Vec<_> =
        (0..3).map(|_| common::provider(DockerConfig { pool, ..common::config(&host) })).collect();
    let workshops: Vec<_> = (0..9).map(|_| common::workshop()).collect();
    let made =
        join_all(workshops.iter().zip(services.iter().cycle()).map(|(workshop, service)| async move {
            service.create(&common::spec(common::seat(workshop, 1)), &Timeline::default()).await.unwrap()
        }))
        .await;
    let mut addresses: Vec<_> = made.iter().map(|made| made.instance.ip.unwrap()).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), workshops.len(), "{addresses:?}");
    for workshop in &workshops {
        clean(&host, workshop).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_volume_in_use_by_a_stranger_is_named_and_kept() {
    let host = Host::of_this_machine().await.unwrap();
    let provider = common::provider(common::config(&host));
    let workshop = common::workshop();
    let seat = common::seat(&workshop, 1);
    provider.create(&common::spec(seat.clone()), &Timeline::default()).await.unwrap();
    let thief = format!("stranger-{workshop}");
    let binds = Some(vec![format!("clarateach-{workshop}-1-data:/mnt")]);
    stranger(&host, &thief, HostConfig { binds, ..HostConfig::default() }).await;

    let error = provider.destroy(&seat, DataPolicy::Remove).await.unwrap_err();
    assert!(matches!(&error, ProviderError::InUse { kind: ObjectKind::Volume, .. }), "{error:?}");
    assert!(error.to_string().contains(&thief), "{error}");
    assert_eq!(host.remains(&workshop).await.unwrap().volumes.len(), 1);
    remove(&host, &thief).await;
    provider.destroy(&seat, DataPolicy::Remove).await.unwrap();
    clean(&host, &workshop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_stranger_on_the_network_keeps_it_and_is_named() {
    let host = Host::of_this_machine().await.unwrap();
    let provider = common::provider(common::config(&host));
    let workshop = common::workshop();
    let seat = common::seat(&workshop, 1);
    provider.create(&common::spec(seat.clone()), &Timeline::default()).await.unwrap();
    let guest = format!("stranger-{workshop}");
    let network_mode = Some(format!("clarateach-{workshop}"));
    stranger(&host, &guest, HostConfig { network_mode, ..HostConfig::default() }).await;

    // The last seat goes although the network cannot; the workshop as a whole is not gone.
    provider.destroy(&seat, DataPolicy::Remove).await.unwrap();
    let error = provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap_err();
    assert!(matches!(&error, ProviderError::InUse { kind: ObjectKind::Network, .. }), "{error:?}");
    assert!(error.to_string().contains(&guest), "{error}");
    remove(&host, &guest).await;
    clean(&host, &workshop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn published_ports_are_the_endpoints_and_tell_a_silent_workspace() {
    let host = Host::of_this_machine().await.unwrap();
    let publish = Some([127, 0, 0, 1].into());
    let provider = common::provider(DockerConfig { publish, ..common::config(&host) });
    let workshop = common::workshop();
    let made =
        provider.create(&common::spec(common::seat(&workshop, 1)), &Timeline::default()).await.unwrap();
    let running = provider.settle(&made.instance, common::START_TIMEOUT).await.unwrap();
    assert_eq!(running.status, Status::Running, "{running:?}");
    for port in [3001, 3002] {
        let address = running.endpoints[&port].strip_prefix("http://").unwrap().to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        tokio::net::TcpStream::connect(address).await.unwrap();
    }
    // The engine's proxy accepts for it; nobody is there.
    let mut mute = common::spec(common::seat(&workshop, 2));
    mute.image = format!("{IMAGE}:mute").parse().unwrap();
    let made = provider.create(&mute, &Timeline::default()).await.unwrap();
    let silent = provider.settle(&made.instance, common::START_TIMEOUT).await.unwrap();
    assert_eq!(silent.status, Status::Error);
    let reason = silent.reason.unwrap();
    assert!(reason.contains("does not answer (connection refused behind the published port)"), "{reason}");
    clean(&host, &workshop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn the_shared_network_takes_one_workshop() {
    let host = Host::of_this_machine().await.unwrap();
    let Some(engine) = PrivateEngine::start(None).await.unwrap() else { return };
    engine.load(&host.socket, IMAGE).unwrap();
    let private = Host::at(&engine.socket()).await.unwrap();
    let config = DockerConfig { shared_network: true, ..common::config(&private) };
    let provider = common::provider(config);
    let (one, two) = (common::workshop(), common::workshop());
    let seat = |workshop| common::spec(common::seat(workshop, 1));

    let error = provider.create(&seat(&one), &Timeline::default()).await.unwrap_err();
    assert!(error.to_string().contains("workspace_clarateach-net is not there"), "{error}");
    let name = "workspace_clarateach-net".to_owned();
    let labels = Some(HashMap::new());
    private.docker.create_network(NetworkCreateRequest { name, labels, ..Default::default() }).await.unwrap();
    provider.create(&seat(&one), &Timeline::default()).await.unwrap();
    let attached = private
        .docker
        .inspect_container(&format!("clarateach-{one}-1"), None::<InspectContainerOptions>)
        .await
        .unwrap();
    let shared = &attached.network_settings.unwrap().networks.unwrap()["workspace_clarateach-net"];
    assert!(shared.aliases.as_ref().unwrap().contains(&"workspace-1".to_owned()));

    let error = provider.create(&seat(&two), &Timeline::default()).await.unwrap_err();
    assert_eq!(error.code(), "refused");
    assert!(error.to_string().contains(one.as_str()), "{error}");
    assert!(private.remains(&two).await.unwrap().is_empty());
    provider.destroy_workshop(&one, DataPolicy::Remove).await.unwrap();
    assert!(private.remains(&one).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_full_disk_is_named_and_leaves_nothing() {
    let host = Host::of_this_machine().await.unwrap();
    let Some(engine) = PrivateEngine::start(Some(64)).await.unwrap() else { return };
    engine.load(&host.socket, IMAGE).unwrap();
    let private = Host::at(&engine.socket()).await.unwrap();
    let provider = common::provider(common::config(&private));
    let workshop = common::workshop();
    let seat = common::spec(common::seat(&workshop, 1));

    let filler = engine.data().join("filler");
    let filled = std::process::Command::new("dd")
        .args(["if=/dev/zero", "bs=4096", &format!("of={}", filler.display())])
        .output()
        .unwrap();
    assert!(!filled.status.success(), "the disk did not fill up");
    let error = provider.create(&seat, &Timeline::default()).await.unwrap_err();
    assert_eq!(error.code(), "host_full", "{error:?}");
    std::fs::remove_file(&filler).unwrap();
    let remains = private.remains(&workshop).await.unwrap();
    assert!(remains.is_empty(), "{remains}");

    // With room again it goes on as if nothing had been.
    provider.create(&seat, &Timeline::default()).await.unwrap();
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap();
    assert!(private.remains(&workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_seat_outlives_its_image() {
    let host = Host::of_this_machine().await.unwrap();
    let provider = common::provider(common::config(&host));
    let workshop = common::workshop();
    let mut spec = common::spec(common::seat(&workshop, 1));
    let tag =
        bollard::query_parameters::TagImageOptionsBuilder::default().repo(workshop.as_str()).tag("1").build();
    host.docker.tag_image(IMAGE, Some(tag)).await.unwrap();
    spec.image = format!("{workshop}:1").parse().unwrap();
    provider.create(&spec, &Timeline::default()).await.unwrap();
    let remove = None::<bollard::query_parameters::RemoveImageOptions>;
    host.docker.remove_image(&format!("{workshop}:1"), remove, None).await.unwrap();

    // A service that never saw the image.
    let restarted = common::provider(common::config(&host));
    restarted.prepare(&spec, &Timeline::default()).await.unwrap();
    let found = restarted.create(&spec, &Timeline::default()).await.unwrap();
    assert_eq!(found.instance.image, format!("{workshop}:1"));
    clean(&host, &workshop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn an_unhealthy_workspace_is_an_error_and_a_healthy_one_runs() {
    let host = Host::of_this_machine().await.unwrap();
    let provider = common::provider(common::config(&host));
    let workshop = common::workshop();
    for (number, tag, status) in [(1, "healthcheck", Status::Running), (2, "unhealthy", Status::Error)] {
        let mut spec = common::spec(common::seat(&workshop, number));
        spec.image = format!("{IMAGE}:{tag}").parse().unwrap();
        let made = provider.create(&spec, &Timeline::default()).await.unwrap();
        let settled = provider.settle(&made.instance, common::START_TIMEOUT * 5).await.unwrap();
        assert_eq!(settled.status, status, "{tag}: {settled:?}");
    }
    clean(&host, &workshop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_destroy_after_somebody_removed_the_container_takes_the_rest() {
    let host = Host::of_this_machine().await.unwrap();
    let provider = common::provider(common::config(&host));
    let workshop = common::workshop();
    let seat = common::seat(&workshop, 1);
    provider.create(&common::spec(seat.clone()), &Timeline::default()).await.unwrap();
    remove(&host, &format!("clarateach-{workshop}-1")).await;
    provider.destroy(&seat, DataPolicy::Remove).await.unwrap();
    let remains = host.remains(&workshop).await.unwrap();
    assert!(remains.is_empty(), "{remains}");

    // The scripts make their network before the first seat: it is not ours to remove for want of one.
    let labels = HashMap::from([
        ("clarateach.type".to_owned(), "workshop-network".to_owned()),
        ("clarateach.workshop".to_owned(), workshop.to_string()),
    ]);
    let name = format!("clarateach-{workshop}");
    let request = NetworkCreateRequest { name, labels: Some(labels), ..NetworkCreateRequest::default() };
    host.docker.create_network(request).await.unwrap();
    provider.destroy(&seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(host.remains(&workshop).await.unwrap().networks.len(), 1);
    clean(&host, &workshop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn two_services_that_make_one_seat_find_each_others() {
    let host = Host::of_this_machine().await.unwrap();
    let (one, two) = (common::provider(common::config(&host)), common::provider(common::config(&host)));
    let workshop = common::workshop();
    let spec = common::spec(common::seat(&workshop, 1));
    for _ in 0..5 {
        let timeline = Timeline::default();
        let (first, second) = tokio::join!(one.create(&spec, &timeline), two.create(&spec, &timeline));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.instance.id, second.instance.id);
        assert_ne!(first.disposition, second.disposition);
        one.destroy(&spec.seat, DataPolicy::Remove).await.unwrap();
    }
    clean(&host, &workshop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_dying_workspace_that_prints_its_key_does_not_tell_it() {
    let host = Host::of_this_machine().await.unwrap();
    let command = Some(
        ["sh", "-c", "echo invalid key $ANTHROPIC_API_KEY for $LESSON; exit 3"].map(str::to_owned).to_vec(),
    );
    let provider = common::provider(DockerConfig { command, ..common::config(&host) });
    let workshop = common::workshop();
    let mut spec = common::spec(common::seat(&workshop, 1));
    spec.api_key = Some(seats::ApiKey::new("sk-canary-dying".into()).unwrap());
    spec.env.insert("LESSON", "sk-canary-lesson".into()).unwrap();
    let made = provider.create(&spec, &Timeline::default()).await.unwrap();
    let settled = provider.settle(&made.instance, common::START_TIMEOUT).await.unwrap();
    let reason = settled.reason.unwrap();
    assert_eq!(reason, "the workspace exits with code 3: invalid key [redacted] for [redacted]");
    clean(&host, &workshop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_seat_that_an_operator_restarts_twice_is_not_broken() {
    let host = Host::of_this_machine().await.unwrap();
    let provider = common::provider(common::config(&host));
    let workshop = common::workshop();
    let mut spec = common::spec(common::seat(&workshop, 1));
    spec.image = format!("{IMAGE}:slow").parse().unwrap();
    let made = provider.create(&spec, &Timeline::default()).await.unwrap();
    provider.settle(&made.instance, common::START_TIMEOUT).await.unwrap();
    let name = format!("clarateach-{workshop}-1");
    for _ in 0..2 {
        let restart = None::<bollard::query_parameters::RestartContainerOptions>;
        host.docker.restart_container(&name, restart).await.unwrap();
    }
    let shown = provider.get(&spec.seat).await.unwrap().unwrap();
    assert_ne!(shown.status, Status::Error, "{shown:?}");
    host.docker.pause_container(&name).await.unwrap();
    let paused = provider.get(&spec.seat).await.unwrap().unwrap();
    assert_eq!(paused.status, Status::Stopped);
    let again = provider.create(&spec, &Timeline::default()).await.unwrap();
    let settled = provider.settle(&again.instance, common::START_TIMEOUT).await.unwrap();
    assert_eq!(settled.status, Status::Running, "{settled:?}");
    clean(&host, &workshop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn what_the_engine_refuses_for_its_value_is_not_called_safe_to_try_again() {
    let host = Host::of_this_machine().await.unwrap();
    let provider = common::provider(common::config(&host));
    let workshop = common::workshop();
    let mut spec = common::spec(common::seat(&workshop, 1));
    spec.limits.cpu_millis = 256_000;
    let error = provider.create(&spec, &Timeline::default()).await.unwrap_err();
    assert_eq!(error.code(), "refused", "{error:?}");
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_seat_has_its_limits_and_few_powers_on_the_engine_and_in_the_kernel() {
    let host = Host::of_this_machine().await.unwrap();
    let config = DockerConfig {
        capabilities: ["CHOWN", "KILL"].map(str::to_owned).to_vec(),
        log_max_size_mib: 3,
        log_max_files: 4,
        ..common::config(&host)
    };
    let provider = common::provider(config);
    let workshop = common::workshop();
    let mut spec = common::spec(common::seat(&workshop, 1));
    spec.limits = Limits { cpu_millis: 250, memory_mib: 80, pids: 50 };
    let made = provider.create(&spec, &Timeline::default()).await.unwrap();
    let settled = provider.settle(&made.instance, common::START_TIMEOUT).await.unwrap();
    assert_eq!(settled.status, Status::Running, "{settled:?}");

    let name = format!("clarateach-{workshop}-1");
    let options = None::<InspectContainerOptions>;
    let inspected = host.docker.inspect_container(&name, options).await.unwrap();
    let settings = inspected.host_config.unwrap();
    // Newer engines write CAP_ in front.
    let names = |list: Option<Vec<String>>| -> Vec<String> {
        let list = list.unwrap_or_default();
        list.iter().map(|name| name.trim_start_matches("CAP_").to_owned()).collect()
    };
    assert_eq!(names(settings.cap_drop), ["ALL"]);
    assert_eq!(names(settings.cap_add), ["CHOWN", "KILL"]);
    assert_eq!(settings.security_opt.unwrap(), ["no-new-privileges"]);
    assert_eq!(settings.privileged, Some(false));
    let memory = 80 * 1024 * 1024;
    assert_eq!((settings.memory, settings.memory_swap), (Some(memory), Some(memory)));
    assert_eq!((settings.nano_cpus, settings.pids_limit), (Some(250_000_000), Some(50)));
    let log = settings.log_config.unwrap();
    let rotation = HashMap::from([("max-size".into(), "3m".into()), ("max-file".into(), "4".into())]);
    assert_eq!((log.typ.as_deref(), log.config), (Some("json-file"), Some(rotation)));

    // What the kernel makes of it, for the first process of the seat.
    let status = host.exec(&name, &["cat", "/proc/1/status"]).await.unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {status}")).trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    // CAP_CHOWN is bit 0, CAP_KILL is bit 5.
    assert_eq!(u64::from_str_radix(&field("CapBnd:"), 16).unwrap(), 1 << 5 | 1);
    // Control groups of version 2, else of version 1.
    let script = "cd /sys/fs/cgroup; if [ -e memory.max ]; then cat memory.max pids.max cpu.max; \
                  else cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us; fi";
    let groups = host.exec(&name, &["sh", "-c", script]).await.unwrap();
    let groups: Vec<i64> = groups.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [in_memory, in_pids, quota, period] = groups[..] else { panic!("{groups:?}") };
    assert_eq!((in_memory, in_pids, quota * 1000 / period), (memory, 50, 250));
    clean(&host, &workshop).await;
}
