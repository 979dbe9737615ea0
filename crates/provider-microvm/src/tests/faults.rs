//! Every step failed in turn, before and after it had its effect: afterwards nothing is left, the next try succeeds, and a seat that runs beside it has
//! noticed nothing.

use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use rstest::rstest;
use seats::{DataPolicy, Instance, Provider as _, Scope, SeatSpec, Status};

use super::bench::{Bench, PATIENCE, create, seat, spec, up};
use super::life::{is_marked, mark};
use crate::MicrovmProvider;
use crate::edges::Host as _;
use crate::edges::scripted::{Fault, What};
use crate::vmm::How;

/// More steps than anything here has.
const MOST: usize = 40;

/// A seat that runs beside those that fail.
struct Bystander {
    wish: SeatSpec,
    instance: Instance,
    /// Everything that it has.
    has: Vec<String>,
}

impl Bystander {
    /// One in this workshop, and nothing else on the host.
    async fn in_workshop(bench: &Bench, provider: &MicrovmProvider, workshop: &str) -> Self {
        let wish = spec(seat(workshop, 2));
        let instance = up(provider, &wish).await;
        Self { wish, instance, has: sorted(bench.left()) }
    }

    /// It answers and is listed as before, has what it had, and nothing else is there.
    async fn is_alone(&self, bench: &Bench, provider: &MicrovmProvider, after: &str) {
        assert_eq!(sorted(bench.left()), self.has, "after {after}");
        self.is_as_before(bench, provider, after).await;
        let listed = provider.list(&Scope::All).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&self.instance), "after {after}");
    }

    /// It answers and is listed as before.
    async fn is_as_before(&self, bench: &Bench, provider: &MicrovmProvider, after: &str) {
        let Some(IpAddr::V4(ip)) = self.instance.ip else { panic!("{:?}", self.instance) };
        bench.world.answers(ip, &[3001]).await.unwrap_or_else(|why| panic!("after {after}: {why}"));
        assert_eq!(bench.world.state().guarded.get(&tap(&self.wish)), Some(&ip), "after {after}");
        let listed = provider.list(&Scope::Workshop(self.wish.seat.workshop.clone())).await.unwrap();
        assert!(listed.contains(&self.instance), "after {after}: {listed:?}");
        assert!(bench.machine(&self.wish.seat).links.load(Ordering::SeqCst) == 1, "after {after}");
    }
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// The device of a seat, as it is named here.
fn tap(wish: &SeatSpec) -> String {
    format!("ctt-{}-{}", wish.seat.workshop, wish.seat.seat)
}

#[rstest]
#[case::alone_in_its_workshop(What::FailsBefore, "go-101")]
#[case::alone_in_its_workshop(What::FailsAfter, "go-101")]
#[case::beside_another(What::FailsBefore, "rust-101")]
#[case::beside_another(What::FailsAfter, "rust-101")]
#[tokio::test]
async fn a_create_that_fails_leaves_nothing(#[case] what: What, #[case] workshop: &str) {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    let bystander = Bystander::in_workshop(&bench, &provider, workshop).await;
    let mut failed = Vec::new();
    for at in 0..MOST {
        bench.world.script(Some(Fault { at, what }));
        let created = create(&provider, &wish).await;
        let step = bench.world.state().steps.get(at).cloned();
        bench.world.script(None);
        match (created, step) {
            (Err(error), Some(step)) => {
                assert!(error.to_string().contains("on purpose"), "{step}: {error}");
                bystander.is_alone(&bench, &provider, &step).await;
                failed.push(step);
            }
            (Ok(_), None) => break,
            (created, step) => panic!("{step:?} failed, and the create: {created:?}"),
        }
    }
    let steps = ["free subnet", "ensure ctb-rust-101", "ensure ctt-rust-101-1", "start", "configure"];
    // A workshop that is there has a subnet.
    assert_eq!(failed, steps[usize::from(workshop == "rust-101")..]);
    up(&provider, &wish).await;
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    bystander.is_alone(&bench, &provider, "the removal").await;
}

/// Where something stands in the way of a file that a create makes.
#[derive(Clone, Copy, Debug)]
enum InTheWay {
    /// In the seat's folder.
    OfSeat(&'static str),
    /// In the folder of its image.
    OfImage(&'static str),
}

#[rstest]
#[case::of_the_record("free subnet", InTheWay::OfSeat(".seat.json.new"), "record")]
#[case::of_the_pin("free subnet", InTheWay::OfImage("pins"), "pin")]
#[case::of_the_first_disk("free subnet", InTheWay::OfSeat("scratch.new"), "disks")]
#[case::of_the_second_disk("free subnet", InTheWay::OfSeat("data.new"), "disks")]
#[case::of_the_last_record("configure", InTheWay::OfSeat(".seat.json.new"), "record")]
#[tokio::test]
async fn a_create_whose_files_cannot_be_made_leaves_nothing(
    #[case] when: &'static str,
    #[case] where_: InTheWay,
    #[case] told: &str,
) {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    // The image is there.
    let bystander = Bystander::in_workshop(&bench, &provider, "go-101").await;
    let obstacle = match where_ {
        InTheWay::OfSeat(name) => bench.seat_folder(&wish.seat).join(name),
        InTheWay::OfImage(name) => bench.image_folder().join(name),
    };
    let aside = obstacle.with_extension("aside");
    let happens = {
        let (obstacle, aside) = (obstacle.clone(), aside.clone());
        move || match where_ {
            InTheWay::OfSeat(_) => std::fs::create_dir_all(obstacle.join("in the way")).unwrap(),
            InTheWay::OfImage(_) => {
                std::fs::rename(&obstacle, aside).unwrap();
                std::fs::write(obstacle, "in the way").unwrap();
            }
        }
    };
    bench.world.state().meanwhile = Some((when, Box::new(happens)));
    let error = create(&provider, &wish).await.unwrap_err().to_string();
    assert!(error.starts_with("seat rust-101/1: ") && error.contains(told), "{error}");
    assert!(bench.world.state().meanwhile.is_none(), "{when} was not reached");
    if matches!(where_, InTheWay::OfImage(_)) {
        std::fs::remove_file(&obstacle).unwrap();
        std::fs::rename(aside, obstacle).unwrap();
    }
    bystander.is_alone(&bench, &provider, &error).await;
    up(&provider, &wish).await;
}

#[rstest]
#[case(What::FailsBefore)]
#[case(What::FailsAfter)]
#[tokio::test]
async fn a_create_over_kept_data_that_fails_keeps_it(#[case] what: What) {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    up(&provider, &wish).await;
    let data = bench.seat_folder(&wish.seat).join("data.img");
    mark(&data);
    provider.destroy(&wish.seat, DataPolicy::Keep).await.unwrap();
    // What is kept is counted to what it has.
    let bystander = Bystander::in_workshop(&bench, &provider, "go-101").await;
    for at in 0..5 {
        bench.world.script(Some(Fault { at, what }));
        create(&provider, &wish).await.unwrap_err();
        bench.world.script(None);
        bystander.is_alone(&bench, &provider, &format!("step {at}")).await;
        assert!(is_marked(&data));
    }
    up(&provider, &wish).await;
    assert!(is_marked(&data));
}

#[rstest]
#[case(What::FailsBefore)]
#[case(What::FailsAfter)]
#[tokio::test]
async fn a_start_that_fails_leaves_the_seat_as_it_was(#[case] what: What) {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    let made = up(&provider, &wish).await;
    let data = bench.seat_folder(&wish.seat).join("data.img");
    mark(&data);
    bench.machine(&wish.seat).end(How::Code(0));
    let bystander = Bystander::in_workshop(&bench, &provider, "rust-101").await;
    let mut failed = 0;
    for at in 0..MOST {
        bench.world.script(Some(Fault { at, what }));
        let created = create(&provider, &wish).await;
        bench.world.script(None);
        let Err(_) = created else { break };
        failed += 1;
        let vms = bench.world.objects().into_iter().filter(|object| object.starts_with("vm"));
        assert_eq!(vms.count(), 1, "step {at}");
        bystander.is_as_before(&bench, &provider, &format!("step {at}")).await;
        let seen = provider.get(&wish.seat).await.unwrap().unwrap();
        // A start that was not even begun is an interrupted one to who looks; either way it can be made again.
        assert!(matches!(seen.status, Status::Stopped | Status::Error), "{seen:?}");
        assert_eq!(seen.id, made.id);
        assert!(is_marked(&data));
    }
    assert!(failed >= 4, "{failed} steps failed");
    let again = create(&provider, &wish).await.unwrap();
    let seen = provider.settle(&again.instance, PATIENCE).await.unwrap();
    assert_eq!((seen.status, seen.id), (Status::Running, made.id));
}

#[rstest]
#[case(What::FailsBefore, DataPolicy::Remove)]
#[case(What::FailsAfter, DataPolicy::Remove)]
#[case(What::FailsBefore, DataPolicy::Keep)]
#[case(What::FailsAfter, DataPolicy::Keep)]
#[tokio::test]
async fn a_removal_that_failed_can_be_repeated(#[case] what: What, #[case] data: DataPolicy) {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    let image = bench.seat_folder(&wish.seat).join("data.img");
    let bystander = Bystander::in_workshop(&bench, &provider, "go-101").await;
    let alone = bench.world.objects();
    let mut failures = 0;
    for at in 0..MOST {
        up(&provider, &wish).await;
        mark(&image);
        bench.world.script(Some(Fault { at, what }));
        let removed = provider.destroy(&wish.seat, data).await;
        let reached = bench.world.state().steps.len() > at;
        bench.world.script(None);
        failures += usize::from(removed.is_err());
        provider.destroy(&wish.seat, data).await.unwrap();
        assert_eq!(bench.world.objects(), alone, "after step {at}");
        if data == DataPolicy::Keep {
            assert!(is_marked(&image), "after step {at}");
            provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
        }
        bystander.is_alone(&bench, &provider, &format!("step {at}")).await;
        if !reached {
            break;
        }
    }
    // The end of the VM, the port, the bridge.
    assert!(failures >= 3, "{failures} removals failed");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_removal_that_failed_twice_says_both() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    // The runtime of this test has this one thread, so this catches the tasks as well.
    let _guard = tracing::subscriber::set_default(subscriber);
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    up(&provider, &wish).await;
    let both = ["clear", "remove ctt-rust-101-1"];
    bench.world.state().broken = both.map(str::to_owned).into();
    let error = provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap_err().to_string();
    assert!(error.contains("clear failed on purpose"), "{error}");
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let second = logged.lines().find(|line| line.contains("remove ctt-rust-101-1 failed on purpose"));
    assert!(
        second.is_some_and(|line| line.contains("ERROR") && line.contains("seat rust-101/1")),
        "{logged}"
    );
    bench.world.state().broken.clear();
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);
}
