//! What an operator should know of the network before class day.

use seats::Finding;

use super::list::PluginName;
use super::runner::Cni;
use super::splice;

impl Cni {
    /// Looks at everything that the network of seats needs from this host. Changes nothing: what is tried is tried in a namespace that goes away.
    pub async fn doctor(&self) -> Vec<Finding> {
        vec![self.plugins().await, self.kernel().await]
    }

    async fn plugins(&self) -> Finding {
        const NAME: &str = "cni_network";
        let options = &self.inner().options;
        match self.network().await {
            Ok(network) => {
                let programs: Vec<_> = network.list.programs().map(PluginName::as_str).collect();
                let detail = format!(
                    "{} of {}: {} (CNI {}); what seats may reach is this network's matter, and no rule of ours is in force",
                    options.network,
                    network.path.display(),
                    programs.join(", "),
                    network.version
                );
                Finding::ok(NAME, detail)
            }
            Err(why) => {
                Finding::error(NAME, why.to_string(), "set microvm.network to \"bridge\" to do without CNI")
            }
        }
    }

    async fn kernel(&self) -> Finding {
        const NAME: &str = "cni_namespaces";
        match splice::trial().await {
            Ok(()) => Finding::ok(
                NAME,
                "network namespaces, TAP devices in them, and redirection (act_mirred) work",
            ),
            Err(why) => Finding::error(
                NAME,
                format!("a seat's network namespace cannot be made: {why}"),
                "run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN; the kernel needs tun, sch_ingress, cls_u32 and act_mirred (modprobe tun \
                 act_mirred cls_u32 sch_ingress)",
            ),
        }
    }
}
