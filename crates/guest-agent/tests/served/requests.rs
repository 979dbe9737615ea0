//! Requests that cannot be followed.

use guest_protocol::client::ClientError;
use guest_protocol::{EnvVar, ExecRequest, Phase, Problem, ProblemCode, WorkloadState};

use super::agent::{Served, config, wait};

fn problem(error: ClientError) -> Problem {
    match error {
        ClientError::Refused { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn before_it_is_a_seat_it_says_so() {
    let served = Served::start().await;
    let agent = served.connect().await;
    let health = agent.health().await.unwrap();
    assert_eq!((health.phase, health.workload.state), (Phase::Waiting, WorkloadState::None));
    assert_eq!((health.generation, agent.generation()), (1, 1));
    let refused = problem(agent.exec(&ExecRequest::new(["/bin/true"])).await.unwrap_err());
    assert_eq!(refused.code, ProblemCode::Conflict);
    assert!(refused.message.contains("not a seat yet"), "{refused}");
    let refused = problem(agent.files_down(&"/etc".parse().unwrap()).await.unwrap_err());
    assert_eq!(refused.code, ProblemCode::Conflict);
    let refused = problem(agent.signal("TERM".parse().unwrap()).await.unwrap_err());
    assert_eq!(refused.code, ProblemCode::Conflict);
    // A guest that nobody needs can be ended.
    agent.stop(std::time::Duration::ZERO).await.unwrap();
    super::agent::within(agent.closed()).await;
}

#[tokio::test]
async fn a_guest_is_one_seat() {
    let served = Served::start().await;
    let agent = served.connect().await;
    let mut bad = config("exec sleep 1000");
    bad.hostname = "not a name".into();
    bad.env = vec![EnvVar::secret("A=B", "sk-canary-refused")];
    let refused = problem(agent.configure(&bad).await.unwrap_err());
    assert_eq!(refused.code, ProblemCode::Invalid);
    assert!(refused.message.contains("hostname") && refused.message.contains("A=B"), "{refused}");
    assert!(!refused.message.contains("canary"), "{refused}");
    assert_eq!(agent.health().await.unwrap().phase, Phase::Waiting, "bad input changes nothing");

    let mut good = config("exec sleep 1000");
    agent.configure(&good).await.unwrap();
    let health = wait(&agent, |health| health.workload.pid.is_some()).await;
    good.clock_unix_ns = Some(1);
    good.entropy = vec![1; 32].into();
    let again = agent.configure(&good).await.unwrap();
    assert_eq!(again.workload.pid, health.workload.pid, "the same again changes nothing");
    good.seat = "rust-101/8".into();
    let refused = problem(agent.configure(&good).await.unwrap_err());
    assert_eq!(refused.code, ProblemCode::Conflict);
    assert!(refused.message.contains("rust-101/7"), "{refused}");
}

/// An ordinary process leaves the system's clock alone.
#[tokio::test]
async fn a_clock_that_cannot_be_set_is_an_error() {
    let (_served, agent) = Served::with("exec sleep 1000").await;
    assert_eq!(problem(agent.set_time(1).await.unwrap_err()).code, ProblemCode::Failed);
}
