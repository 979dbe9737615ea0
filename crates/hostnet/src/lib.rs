//! Bridges, TAP devices, addresses and the packet filter of microVM seats.
