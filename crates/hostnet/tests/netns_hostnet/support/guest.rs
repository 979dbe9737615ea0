//! A guest: a namespace whose only interface is a TAP device, wired to the seat's.
//!
//! ```text
//!   host ── bridge ── TAP of the seat ◄─ frames, both ways ─► TAP "eth0" ── namespace of the guest
//!                     (where a VMM would be)
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hostnet::tap::Tap;
use hostnet::{Mac, Port, WorkshopNet};
use rustix::event::{PollFd, PollFlags, poll};

use super::Namespace;
use super::name;

/// The header of virtio-net before each frame.
const HEADER: usize = 10;

pub(crate) struct Guest {
    pub(crate) port: Port,
    pub(crate) namespace: Namespace,
    wire: Wire,
}

impl Guest {
    /// A guest that does what it is told: its MAC, its address, its gateway.
    pub(crate) fn boot(net: &WorkshopNet, port: &Port) -> Self {
        let namespace = Namespace::new();
        let outside = Tap::attach(port.tap()).unwrap().into_file();
        let inside = namespace.run(|| Tap::create(&name("eth0")).unwrap().into_file());
        namespace.ip(&format!("link set eth0 address {} up", port.mac()));
        namespace.ip(&format!("address add {}/{} dev eth0", port.address(), net.subnet().prefix_len()));
        namespace.ip(&format!("route add default via {}", net.gateway()));
        Self { port: port.clone(), namespace, wire: Wire::new(outside, inside) }
    }

    /// Sends a frame past the guest's own kernel.
    pub(crate) fn send(&self, to: Mac, from: Mac, kind: u16, payload: &[u8]) {
        let mut frame = vec![0; HEADER];
        frame.extend(to.octets());
        frame.extend(from.octets());
        frame.extend(kind.to_be_bytes());
        frame.extend(payload);
        frame.resize(frame.len().max(HEADER + 60), 0);
        (&self.wire.outside).write_all(&frame).unwrap();
    }

    /// The frames that came to the guest so far from this MAC.
    pub(crate) fn frames_from(&self, mac: Mac) -> usize {
        let frames = self.wire.received.lock().unwrap();
        frames.iter().filter(|frame| frame.get(6..12) == Some(&mac.octets())).count()
    }

    /// Frames that went wrong on purpose, and then one after all of them.
    pub(crate) fn frames(&self) -> Vec<Vec<u8>> {
        self.wire.received.lock().unwrap().clone()
    }
}

/// Carries frames until it is dropped.
pub(crate) struct Wire {
    outside: File,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    pub(crate) fn new(outside: File, inside: File) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let (stopped, stop) = std::io::pipe().unwrap();
        let (out, seen) = (outside.try_clone().unwrap(), Arc::clone(&received));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 17];
            loop {
                let mut ready = [
                    PollFd::new(&out, PollFlags::IN),
                    PollFd::new(&inside, PollFlags::IN),
                    PollFd::new(&stopped, PollFlags::IN),
                ];
                poll(&mut ready, None).unwrap();
                let [outer, inner, stop] = ready.map(|fd| fd.revents());
                if !stop.is_empty() || outer.contains(PollFlags::ERR) {
                    return;
                }
                if outer.contains(PollFlags::IN)
                    && let Ok(length) = (&out).read(&mut buffer)
                {
                    seen.lock().unwrap().push(buffer[HEADER..length].to_vec());
                    // A device that is down takes nothing.
                    drop((&inside).write(&buffer[..length]));
                }
                if inner.contains(PollFlags::IN)
                    && let Ok(length) = (&inside).read(&mut buffer)
                {
                    drop((&out).write(&buffer[..length]));
                }
            }
        });
        Self { outside, received, stop: Some(stop.into()), thread: Some(thread) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
