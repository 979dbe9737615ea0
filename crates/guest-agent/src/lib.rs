//! The first process of a microVM.
