//! `orchestrator rootfs …`

#[allow(dead_code, reason = "the command line does not lead here yet")]
mod inspect;
