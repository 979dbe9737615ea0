//! What a running VM is told, in whatever state it is.

use std::path::Path;

use super::{Api, Attached, DeviceId, DrivePatch, FirecrackerError, Limits, SettingError, Trouble};
use crate::vmm::{Serial, Throttle, VmmError, folder};

/// The API of the process that has its sockets in a folder.
pub(in crate::vmm) fn api(seat: &str, sockets: &Path) -> Api {
    Api::new(seat, sockets.join(folder::API), Limits::default())
}

/// Stops the processors, unless they stand.
pub(in crate::vmm) async fn pause(api: &Api) -> Result<(), FirecrackerError> {
    match Attached::attach(api.clone()).await? {
        Attached::Running(machine) => machine.pause().await.map(drop),
        Attached::Paused(_) => Ok(()),
    }
}

/// Lets the processors run, unless they do.
pub(in crate::vmm) async fn resume(api: &Api) -> Result<(), FirecrackerError> {
    match Attached::attach(api.clone()).await? {
        Attached::Running(_) => Ok(()),
        Attached::Paused(machine) => machine.resume().await.map(drop),
    }
}

/// Presses Ctrl, Alt and Del, which is the only button there is. A machine that stands notices nothing.
pub(in crate::vmm) async fn press_power(api: &Api) -> Result<(), FirecrackerError> {
    match Attached::attach(api.clone()).await? {
        Attached::Running(machine) => machine.send_ctrl_alt_del().await,
        Attached::Paused(_) => Ok(()),
    }
}

/// Sets how fast a drive may be used.
pub(in crate::vmm) async fn set_throttle(
    api: &Api,
    seat: &str,
    serial: &Serial,
    throttle: Throttle,
) -> Result<(), VmmError> {
    let drive_id = drive_id(seat, serial)?;
    let patch = DrivePatch { drive_id, path_on_host: None, rate_limiter: Some(throttle.into()) };
    match Attached::attach(api.clone()).await? {
        Attached::Running(machine) => machine.patch_drive(&patch).await?,
        Attached::Paused(machine) => machine.patch_drive(&patch).await?,
    }
    Ok(())
}

/// The name that Firecracker has for a drive. It may hold no `-`, and two drives have two names.
pub(super) fn drive_id(seat: &str, serial: &Serial) -> Result<DeviceId, VmmError> {
    let name = serial.as_str().replace('_', "_u").replace('-', "_d");
    DeviceId::new(&name).map_err(|why| setting(seat, why).into())
}

/// Something that is wrong before it is told to anybody.
pub(super) fn setting(seat: &str, why: SettingError) -> FirecrackerError {
    FirecrackerError { seat: seat.to_owned(), call: "configuring".into(), trouble: Trouble::Setting(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_serial_has_a_name_of_its_own() {
        let name = |text: &str| drive_id("demo/1", &Serial::new(text).unwrap()).unwrap().as_str().to_owned();
        assert_eq!(name("root"), "root");
        assert_eq!((name("a-b"), name("a_b")), ("a_db".into(), "a_ub".into()));
        assert_eq!((name("a_-b"), name("a-_b")), ("a_u_db".into(), "a_d_ub".into()));
        assert_eq!(name(&"-".repeat(20)), "_d".repeat(20));
    }
}
