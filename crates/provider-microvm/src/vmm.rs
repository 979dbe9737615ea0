//! Virtual machine monitors: what runs one microVM.
