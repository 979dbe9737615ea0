//! Lines as Firecracker writes them, and others.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use super::counted::{COUNTED, Counts};
use super::pipe::Lines;
use super::*;
use crate::vmm::firecracker::{Api, Limits};

/// As much of a line of 1.17 as matters, and something of a version to come.
const LINE: &[u8] = br#"{"utc_timestamp_ms":1780000000000,"block":{"read_bytes":4096,"write_bytes":512,"execute_fails":1,"invalid_reqs_count":2},
"block_root":{"read_bytes":4096},"net":{"rx_bytes_count":100,"tx_fails":2,"tx_spoofed_mac_count":3},"balloon":{"free_page_report_freed":2097152},
"vcpu":{"exit_io_in":5,"exit_io_out":7,"exit_io_in_agg":{"min_us":1}},"logger":{"missed_metrics_count":1},"teleporter":[{"trips":"many"}]}"#;

fn one_line() -> Vec<u8> {
    let mut line: Vec<u8> = LINE.iter().copied().filter(|byte| *byte != b'\n').collect();
    line.push(b'\n');
    line
}

fn value(measurements: &[Measurement], name: &str, word: &str) -> u64 {
    let of = |one: &&Measurement| one.name == name && one.labels.iter().all(|label| label.1 == word);
    measurements.iter().find(of).unwrap_or_else(|| panic!("no {name} {word}")).value
}

#[test]
fn a_line_is_read_and_what_is_not_known_left_out() {
    let counts = Counts::read(LINE).unwrap();
    let found = measured(&counts, 2, &[]);
    assert_eq!(value(&found, "microvm_disk_bytes", "read"), 4096);
    assert_eq!(value(&found, "microvm_disk_bytes", "written"), 512);
    assert_eq!(value(&found, "microvm_device_errors", "disk"), 3);
    assert_eq!(value(&found, "microvm_device_errors", "network"), 2);
    assert_eq!(value(&found, "microvm_processor_exits", "port"), 12);
    assert_eq!(value(&found, "microvm_memory_returned_bytes", "reported"), 2 << 20);
    assert_eq!(value(&found, "microvm_monitors_measured", ""), 2);
    for garbage in [&b""[..], b"null", b"[]", b"{}", b"{\"block\":{\"read_bytes\":1}}", b"{\"utc", b"\xff"] {
        assert_eq!(Counts::read(garbage), None);
    }
    let odd =
        Counts::read(br#"{"utc_timestamp_ms":1,"block":{"read_bytes":-4,"write_bytes":"many"},"net":7}"#);
    assert_eq!(odd, Some(Counts::NONE));
}

#[test]
fn lines_come_in_pieces_and_may_be_torn() {
    let mut stream = b"Bytes\":1}}\n".to_vec();
    stream
        .extend([one_line(), b"{\"utc_timestamp_ms\":1,\"blo\n\n".to_vec(), one_line(), one_line()].concat());
    for piece in [1, 7, 4000, stream.len()] {
        let mut lines = Lines::default();
        let mut sum = Counts::NONE;
        stream.chunks(piece).filter_map(|piece| lines.feed(piece)).for_each(|counts| sum.add(&counts));
        assert_eq!(value(&measured(&sum, 1, &[]), "microvm_disk_bytes", "read"), 3 * 4096, "{piece}");
    }
    // The rest of the one had no room.
    let torn = [&one_line()[..100], &one_line()[..]].concat();
    assert_eq!(Lines::default().feed(&torn), Counts::read(LINE));
}

#[test]
fn a_line_without_end_is_not_kept_and_the_next_one_is_read() {
    let mut lines = Lines::default();
    for _ in 0..64 {
        assert_eq!(lines.feed(&[b'x'; 64 * 1024]), None);
    }
    assert!(size_of_val(&lines) < 64 && format!("{lines:?}").len() < 100, "nothing of it is kept");
    assert_eq!(lines.feed(b"}\n"), None);
    assert!(lines.feed(&one_line()).is_some());
}

#[test]
fn a_process_that_lies_counts_no_further_than_to_the_end() {
    let lie = format!(
        r#"{{"utc_timestamp_ms":1,"vcpu":{{"exit_io_in":{max},"exit_io_out":{max}}}}}"#,
        max = u64::MAX
    );
    let counts = Counts::read(lie.as_bytes()).unwrap();
    let mut sum = counts.clone();
    sum.add(&counts);
    assert_eq!(value(&measured(&sum, 1, &[]), "microvm_processor_exits", "port"), u64::MAX);
}

#[test]
fn what_guests_tell_is_added_up() {
    let told =
        BalloonStats { total_memory: Some(64 << 20), free_memory: Some(8 << 20), ..BalloonStats::default() };
    let found = measured(&Counts::NONE, 3, &[told.clone(), told, BalloonStats::default()]);
    assert_eq!(value(&found, "microvm_guests_reporting", ""), 2);
    assert_eq!(value(&found, "microvm_guest_memory_bytes", "total"), 128 << 20);
    assert_eq!(value(&found, "microvm_guest_memory_bytes", "free"), 16 << 20);
    assert_eq!(value(&found, "microvm_guest_memory_bytes", "cached"), 0);
}

#[test]
fn series_are_few_and_each_is_there_once() {
    let found = measured(&Counts::NONE, 0, &[]);
    assert_eq!(found.len(), COUNTED.len() + 2 + MEMORY.len());
    assert!(found.len() < 40);
    for (number, one) in found.iter().enumerate() {
        let before = found.iter().take(number);
        assert!(before.clone().all(|other| (other.name, other.labels) != (one.name, one.labels)), "{one:?}");
        let alike = before.filter(|other| other.name == one.name);
        assert!(alike.into_iter().all(|other| (other.kind, other.help) == (one.kind, one.help)), "{one:?}");
    }
}

#[tokio::test]
async fn what_is_left_in_the_pipe_is_counted_when_nobody_watches_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::new("demo/1", folder.path().join("api.sock"), Limits::default());
    create(&api, None).unwrap();
    let pipe = folder.path().join(crate::vmm::folder::METRICS);
    let mut process = File::options().read(true).write(true).open(pipe).unwrap();
    let reading = Reading::start(Arc::new(api)).unwrap();
    process.write_all(&one_line()).unwrap();
    let first = async {
        while value(&reading.measurements(), "microvm_disk_bytes", "read") < 4096 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), first).await.unwrap();
    // From here on its task has no turn.
    process.write_all(&[one_line(), one_line(), b"{\"utc_timestamp".to_vec()].concat()).unwrap();
    drop((process, reading));
    assert_eq!(value(&measurements(), "microvm_disk_bytes", "read"), 3 * 4096);
    assert_eq!(value(&measurements(), "microvm_monitors_measured", ""), 0);
}
