//! The jail of a VM that Firecracker runs: a folder that is all its monitor sees of the host, made before the monitor and removed after it.
//!
//! ```text
//!   {folder}/jail/                 of root, mode 0700, of this VM alone: what the jailer takes for its base
//!     {program}/{id}/              the jailer says how these are called
//!       root/                      the monitor's `/`; given to its user by the jailer
//!         {name}                   what is staged: files that VMs share, and the seat's own disks, as further names of the same files
//!         {program}  {program}.pid  dev/  run/          by the jailer; the number is that of the namespace
//!         {socket} …               by the monitor; when it was taken over, anything
//! ```
//!
//! - **A base for each VM** in its own folder: what a killed service left is found whatever the monitor's program was called then, nobody
//!   else passes through it, and it goes when the seat does.
//! - **Hard links, not bind mounts**: there is no mount that a kill could leave over or that a service in another mount namespace would not see.
//!   The shared file keeps its owner, and no jailed monitor can write it, since all a monitor's user has on it is the right to read. What it takes is
//!   that the files and the seats are on one file system; where they are not, staging says so.
//! - **The cgroup is not the jailer's**: it can be told of one version only, and hosts exist that have controllers in both. Whoever starts the
//!   jailer moves it into the VM's [`Cgroup`](super::cgroup::Cgroup) first, as with every monitor, and the jailer is told of none.
//! - **Nor are the namespaces of processes and of the network**: a jailer that makes the first ends before its monitor, whom nobody would kill then when the
//!   keeper dies. The keeper makes it, with a process of its own as the first (`keeper::init`), and is in the network's itself.
//! - **What is in a jail is not believed**: a monitor that was taken over may leave links, sockets and folders of any depth. Nothing in there is
//!   reached by a path: each name is looked up in an open folder, and a link is never followed.
//!
//! What a jail is to be, its paths and the jailer's arguments are in `spec`, which touches nothing; `stage` and `remove` make and unmake it, in the keeper, which
//! has the folder's lock; `program` looks at the jailer and at what it is to run; `reach` connects to the sockets in it. How a jailer works is told in Firecracker's docs/jailer.md.

mod error;
mod place;
mod program;
mod reach;
mod remove;
mod spec;
mod stage;
#[cfg(test)]
mod tests;

pub(super) use error::JailError;
pub(crate) use place::fits;
pub(super) use program::{check, find, jailable, not_run, powers};
pub(super) use reach::connect;
pub(super) use remove::remove;
pub(super) use spec::{Access, FileName, JailFile, JailId, JailSpec};
pub(super) use stage::stage;
