//! Network interfaces.

use serde::Serialize;

use super::{Check, DeviceId, RateLimiter, SettingError, bound, limiter, mac, name};
use crate::vmm::{InterfaceName, MacAddress};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkInterface {
    /// Its name.
    pub iface_id: DeviceId,
    /// The TAP device in the process's network namespace. To be looked for before: a process that may make one makes the one that is missing, without a word,
    /// and another one is refused.
    #[serde(serialize_with = "name")]
    pub host_dev_name: InterfaceName,
    /// The guest's address on it.
    #[serde(serialize_with = "mac")]
    pub guest_mac: MacAddress,
    /// The largest packet that the guest is told, 68 to 65535 bytes; nothing: its own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// How fast the guest may receive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_rate_limiter: Option<RateLimiter>,
    /// How fast it may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_rate_limiter: Option<RateLimiter>,
}

/// A change of a network interface: nothing but its limits can be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkPatch {
    /// Which interface.
    pub iface_id: DeviceId,
    /// How fast the guest may receive from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_rate_limiter: Option<RateLimiter>,
    /// How fast it may send from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_rate_limiter: Option<RateLimiter>,
}

impl Check for NetworkInterface {
    fn check(&self) -> Result<(), SettingError> {
        bound(self.mtu.is_none_or(|mtu| mtu >= 68), "a network interface's packets have at least 68 bytes")?;
        limiter::all([&self.rx_rate_limiter, &self.tx_rate_limiter])
    }
}

impl Check for NetworkPatch {
    fn check(&self) -> Result<(), SettingError> {
        limiter::all([&self.rx_rate_limiter, &self.tx_rate_limiter])
    }
}
