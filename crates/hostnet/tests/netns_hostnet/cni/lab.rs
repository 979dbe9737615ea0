//! A host with an operator's network.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostnet::cni::{Attached, Cni, CniOptions};
use hostnet::tap::Tap;
use seats::{SeatBound, SeatRef};
use serde_json::{Value, json};

use crate::support::{Namespace, Wire, instance, isolated_with_mounts, name, run};

/// Where Debian has the plugins.
const PLUGINS: &str = "/usr/lib/cni";
/// A file in the seats' address pool.
pub(super) const FIRST: &str = "10.77.0.2";

/// The folders of an operator's network and of a service; all of it is on mounts that go with the test.
pub(super) struct Lab {
    folder: PathBuf,
}

/// Runs a test in namespaces of its own, where there are plugins; else it counts as skipped.
pub(super) fn lab<F: Future<Output = ()>>(test: &str, body: impl FnOnce(Lab) -> F) {
    let programs = ["bridge", "host-local", "firewall", "tuning", "portmap"];
    let missing = programs.iter().find(|program| !Path::new(PLUGINS).join(program).exists());
    if let Some(program) = missing {
        let why = format!("no {PLUGINS}/{program} (scripts/ensure-test-tools.sh installs it)");
        let Some(report) = std::env::var_os("CONFORMANCE_REPORT") else { panic!("cannot run here: {why}") };
        let mut file = fs::OpenOptions::new().create(true).append(true).open(report).unwrap();
        writeln!(file, "skipped\tnetns\t{test}\t{why}").unwrap();
        return;
    }
    isolated_with_mounts(test, async {
        // Plugins keep notes there.
        for folder in ["/run", "/mnt"] {
            run(&format!("mount -t tmpfs none {folder}"));
        }
        let lab = Lab { folder: "/mnt".into() };
        for folder in ["net.d", "bin"] {
            fs::create_dir(lab.folder.join(folder)).unwrap();
        }
        body(lab).await;
    });
}

pub(super) fn seat(number: u64) -> SeatRef {
    SeatRef::new("rust-101".parse().unwrap(), SeatBound::widest().seat(number).unwrap())
}

/// What an operator's list begins with.
pub(super) fn bridge() -> Value {
    json!({
        "type": "bridge", "bridge": "lab0", "isGateway": true, "mtu": 1400, "capabilities": {"ips": true},
        "ipam": {
            "type": "host-local", "dataDir": "/mnt/ipam", "ranges": [[{"subnet": "10.77.0.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}]
        },
        "dns": {"nameservers": ["10.77.0.1"]}
    })
}

impl Lab {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the operator's network.
    pub(super) fn network(&self, plugins: &[Value]) {
        let list = json!({"cniVersion": "1.0.0", "name": "lab", "plugins": plugins});
        fs::write(self.path("net.d/10-lab.conflist"), list.to_string()).unwrap();
    }

    /// A plugin of the test's own: a script, with a way out for VERSION.
    pub(super) fn plugin(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        let known = r#"{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}"#;
        let text = format!("#!/bin/sh\n[ $CNI_COMMAND = VERSION ] && echo '{known}' && exit 0\n{script}\n");
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(super) fn options(&self) -> CniOptions {
        CniOptions {
            instance: instance(),
            network: "lab".parse().unwrap(),
            config_dir: self.path("net.d"),
            bin_dirs: vec![self.path("bin"), PLUGINS.into()],
            cache: self.path("cache"),
            namespaces: self.path("namespaces"),
            limit: Duration::from_secs(120),
        }
    }

    /// A service; each call is the next one.
    pub(super) fn service(&self) -> Cni {
        Cni::new(self.options()).unwrap()
    }

    /// A service that waits for plugins no longer than this.
    pub(super) fn hasty(&self, limit: Duration) -> Cni {
        Cni::new(CniOptions { limit, ..self.options() }).unwrap()
    }

    /// What is left of seats: their names in the service's folders, addresses that are given out, interfaces of the host.
    pub(super) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in ["cache", "namespaces", "ipam/lab"] {
            let names = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
            let names = names.map(|entry| entry.file_name().into_string().unwrap());
            // What the plugin keeps for itself.
            let names = names.filter(|name| name != "lock" && !name.starts_with("last_reserved_ip"));
            left.extend(names.map(|name| format!("{folder}/{name}")));
        }
        let links = run("ip -o link");
        let names = links.lines().filter_map(|line| line.split(": ").nth(1));
        left.extend(names.filter(|name| !["lo", "lab0"].contains(name)).map(str::to_owned));
        left
    }
}

/// A guest in a namespace of its own, behind a VMM in the seat's.
pub(super) struct Vm {
    pub(super) guest: Namespace,
    _wire: Wire,
}

impl Vm {
    /// A VMM that is in the seat's namespace, and a guest that does what the network said.
    pub(super) fn boot(at: &Attached) -> Self {
        let namespace = fs::File::open(&at.namespace).unwrap();
        let outside = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind)
                    .unwrap();
                Tap::attach(&at.tap).unwrap().into_file()
            });
            inside.join().unwrap()
        });
        let guest = Namespace::new();
        let inside = guest.run(|| Tap::create(&name("eth0")).unwrap().into_file());
        guest.ip(&format!("link set eth0 address {} mtu {} up", at.mac, at.mtu));
        guest.ip(&format!("address add {} dev eth0", at.address));
        if let Some(gateway) = at.gateway {
            guest.ip(&format!("route add default via {gateway}"));
        }
        Self { guest, _wire: Wire::new(outside, inside) }
    }
}
