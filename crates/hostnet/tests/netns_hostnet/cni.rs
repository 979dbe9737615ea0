//! Networks of the Container Network Interface, with Debian's plugins.

mod lab;
mod life;
mod trouble;
