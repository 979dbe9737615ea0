//! Processes beside the workload.

use guest_protocol::client::{Agent, ClientError, ExecEvent, ExecOutput};
use guest_protocol::{EnvVar, ExecRequest, Exit, ProblemCode, Signal, Size};

use super::agent::{Served, gone, lives, within};

const SIZE: Size = Size { columns: 80, rows: 24 };

fn shell(script: &str) -> ExecRequest {
    ExecRequest::new(["/bin/sh", "-c", script])
}

async fn run(agent: &Agent, script: &str, input: &[u8]) -> (Exit, String, String) {
    let result = within(agent.run(&shell(script), input, 1 << 20)).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (result.exit, text(&result.out), text(&result.err))
}

/// Reads until this text has come.
async fn until(output: &mut ExecOutput, text: &str) -> String {
    let mut all = String::new();
    within(async {
        while !all.contains(text) {
            match output.next().await.unwrap() {
                Some(ExecEvent::Out(bytes)) => all.push_str(&String::from_utf8_lossy(&bytes)),
                // A shell says there what ended its children.
                Some(ExecEvent::Err(_)) => {}
                other => panic!("{other:?} after {all:?}"),
            }
        }
    })
    .await;
    all
}

/// How it ends, whatever it says before.
async fn ended(output: &mut ExecOutput) -> Exit {
    within(async {
        loop {
            match output.next().await.unwrap() {
                Some(ExecEvent::Exit(exit)) => return exit,
                Some(_) => {}
                None => panic!("no end"),
            }
        }
    })
    .await
}

#[tokio::test]
async fn outputs_input_and_code() {
    let (_served, agent) = Served::with("exec sleep 1000").await;
    let (exit, out, err) = run(&agent, "cat; echo bad >&2; exit 7", b"some input").await;
    assert_eq!((exit, out.as_str(), err.as_str()), (Exit::Code(7), "some input", "bad\n"));
    // More than any buffer on the way holds, in both directions.
    let much: Vec<u8> = (0..1_000_000_u32).map(|number| b'a' + (number % 26) as u8).collect();
    let result = within(agent.run(&shell("cat"), &much, 2 << 20)).await.unwrap();
    assert!(result.exit == Exit::Code(0) && result.out == much);
    // One that does not read its input does not hang.
    assert_eq!(run(&agent, "exit 0", &much).await.0, Exit::Code(0));
    assert_eq!(run(&agent, "kill -TERM $$", b"").await.0, Exit::Signal(Signal::TERM));
    // One that leaves something behind, which holds its output, has ended all the same.
    assert_eq!(run(&agent, "sleep 1000 & echo done", b"").await.1, "done\n");
}

#[tokio::test]
async fn variables_user_and_folder() {
    let (_served, agent) = Served::with("exec sleep 1000").await;
    let mut request = shell("pwd; echo $A $HOSTNAME; echo ${TERM-none}");
    request.env = vec![EnvVar::open("A", "b c")];
    request.working_dir = Some("/usr".parse().unwrap());
    let result = within(agent.run(&request, b"", 1000)).await.unwrap();
    assert_eq!(&result.out[..], b"/usr\nb c seat-7\nnone\n");
    let refused = async |request: &ExecRequest| match agent.exec(request).await {
        Err(ClientError::Refused { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    request.user = Some("nobody-at-all".into());
    assert_eq!(refused(&request).await.code, ProblemCode::NotFound);
    let problem = refused(&ExecRequest::new(["no-such-program"])).await;
    assert_eq!(problem.code, ProblemCode::NotFound);
    assert!(problem.message.contains("no-such-program"), "{problem}");
    assert_eq!(refused(&ExecRequest::new(Vec::<String>::new())).await.code, ProblemCode::Invalid);
    assert_eq!(refused(&ExecRequest::new(["a\0b"])).await.code, ProblemCode::Invalid);
}

#[tokio::test]
async fn a_terminal_is_one() {
    let (_served, agent) = Served::with("exec sleep 1000").await;
    let request = ExecRequest::new(["/bin/sh"]).on_terminal(SIZE);
    let mut session = within(agent.exec(&request)).await.unwrap();
    session.input.write(b"PS1=; stty size; tty; echo $TERM-term\n").await.unwrap();
    let said = until(&mut session.output, "xterm-term").await;
    assert!(said.contains("24 80") && said.contains("/dev/pts/"), "{said}");
    session.input.resize(Size { columns: 100, rows: 30 }).await.unwrap();
    session.input.write(b"stty size; echo resized=$((1+1))\n").await.unwrap();
    let said = until(&mut session.output, "resized=2").await;
    assert!(said.contains("30 100"), "{said}");
    // Typed, as a person does: the terminal makes a signal of it.
    session
        .input
        .write(b"trap 'echo interrupted=$((2+1))' INT; echo set=$((2+2)); sleep 1000\n")
        .await
        .unwrap();
    until(&mut session.output, "set=4").await;
    let mut said = String::new();
    within(async {
        while !said.contains("interrupted=3") {
            // Again, should the program not have begun when it was typed.
            session.input.write(b"\x03").await.unwrap();
            let soon = std::time::Duration::from_millis(200);
            while let Ok(event) = tokio::time::timeout(soon, session.output.next()).await {
                match event.unwrap() {
                    Some(ExecEvent::Out(bytes)) => said.push_str(&String::from_utf8_lossy(&bytes)),
                    other => panic!("{other:?} after {said:?}"),
                }
            }
        }
    })
    .await;
    // Interrupted before each time: the program may have begun only after it was interrupted last, and a shell that is interrupted
    // throws the line away that it has.
    let exit = within(async {
        loop {
            drop(session.input.write(b"\x03").await);
            drop(session.input.write(b"exit 5\n").await);
            let soon = std::time::Duration::from_millis(500);
            if let Ok(exit) = tokio::time::timeout(soon, ended(&mut session.output)).await {
                return exit;
            }
        }
    })
    .await;
    assert_eq!(exit, Exit::Code(5));
    assert_eq!(session.output.next().await.unwrap(), None);
}

#[tokio::test]
async fn the_end_of_a_terminals_input_ends_a_shell() {
    let (_served, agent) = Served::with("exec sleep 1000").await;
    let request = ExecRequest::new(["/bin/cat"]).on_terminal(SIZE);
    let session = within(agent.exec(&request)).await.unwrap();
    session.input.end().await.unwrap();
    let mut output = session.output;
    assert_eq!(ended(&mut output).await, Exit::Code(0));
}

/// A window that was closed: everything that was started in it ends, jobs with groups of their own as well.
#[tokio::test]
async fn a_session_that_is_dropped_ends_with_all_its_jobs() {
    let (_served, agent) = Served::with("exec sleep 1000").await;
    let script = "set -m; trap '' HUP; (trap '' HUP; exec sleep 1000) & echo job $!; wait";
    let request = ExecRequest::new(["/bin/sh", "-c", script]).on_terminal(SIZE);
    let mut session = within(agent.exec(&request)).await.unwrap();
    let said = until(&mut session.output, "\n").await;
    let job: u32 = said.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(lives(session.pid) && lives(job));
    let pid = session.pid;
    drop(session);
    gone(pid).await;
    gone(job).await;
    // The agent is as well as before.
    assert_eq!(run(&agent, "echo still", b"").await.1, "still\n");
}

#[tokio::test]
async fn a_signal_goes_to_the_whole_group() {
    let (_served, agent) = Served::with("exec sleep 1000").await;
    let request = shell("trap 'echo heard; exit 1' USR1; echo ready; while :; do sleep 0.01; done");
    let mut session = within(agent.exec(&request)).await.unwrap();
    until(&mut session.output, "ready").await;
    session.input.signal("USR1".parse().unwrap()).await.unwrap();
    until(&mut session.output, "heard").await;
    assert_eq!(ended(&mut session.output).await, Exit::Code(1));
}

#[tokio::test]
async fn too_many_at_a_time_are_refused_and_places_come_back() {
    let (_served, agent) = Served::with("exec sleep 1000").await;
    let request = shell("exec sleep 1000");
    let mut sessions = Vec::new();
    let problem = loop {
        match within(agent.exec(&request)).await {
            Ok(session) => sessions.push(session),
            Err(ClientError::Refused { problem, .. }) => break problem,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!((problem.code, sessions.len()), (ProblemCode::Busy, 32));
    let pids: Vec<_> = sessions.iter().map(|session| session.pid).collect();
    drop(sessions);
    for pid in pids {
        gone(pid).await;
    }
    assert_eq!(run(&agent, "echo again", b"").await.1, "again\n");
}
