//! Images of a registry.
