//! The provider over a scripted host: real records, disks and images on a real disk, and a kernel that does as it is told.

mod bench;
mod deaf;
mod faults;
mod guard;
mod images;
mod kills;
mod ledger;
mod life;
mod refusals;
mod snapshots;
mod trouble;
