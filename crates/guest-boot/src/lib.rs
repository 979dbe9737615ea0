//! The kernel of microVMs, its modules and the first root that the agent starts in.
