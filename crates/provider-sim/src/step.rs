//! The calls that the provider makes to the simulated engine.

use seats::Stage;

/// One call to the simulated engine: what can be slow, fail or hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Looks whether the image is on the host.
    FindImage,
    /// Pulls the image; only when it is not there.
    PullImage,
    /// Looks for the seat's container.
    FindSeat,
    /// Finds or makes the workshop's network.
    Network,
    /// Finds or makes the seat's volume.
    Volume,
    /// Makes the container.
    Create,
    /// Starts the container.
    Start,
    /// Reads back the container's address.
    Inspect,
    /// Removes the container, running or not.
    RemoveInstance,
    /// Removes the seat's volume.
    RemoveVolume,
    /// Removes the workshop's network.
    RemoveNetwork,
    /// Lists containers, or looks at one for whoever asks.
    List,
}

impl Step {
    /// What preparing and creating a seat goes through when its image is on the host, in this order.
    pub const CREATE: [Self; 7] = [
        Self::FindImage,
        Self::FindSeat,
        Self::Network,
        Self::Volume,
        Self::Create,
        Self::Start,
        Self::Inspect,
    ];

    /// What removes things, in the order of a destroy; the undo of a failed create goes the same way.
    pub const DESTROY: [Self; 3] = [Self::RemoveInstance, Self::RemoveVolume, Self::RemoveNetwork];

    /// The stage that a failure of this step is reported under.
    #[must_use]
    pub fn stage(self) -> Stage {
        match self {
            Self::FindImage | Self::PullImage => Stage::Image,
            Self::FindSeat | Self::List => Stage::Check,
            Self::Network | Self::RemoveNetwork => Stage::Network,
            Self::Volume | Self::RemoveVolume => Stage::Volume,
            Self::Create | Self::RemoveInstance => Stage::Create,
            Self::Start => Stage::Start,
            Self::Inspect => Stage::Inspect,
        }
    }
}
