//! What happened: past facts about one agent, the difference between two of its records.

/// A fact about one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// First seen.
    Appeared,
    /// A session claimed it.
    Connected,
    /// Its session ended, or it said goodbye.
    Disconnected,
    /// It describes itself otherwise.
    DescriptionChanged,
    /// It declares other capabilities.
    CapabilitiesChanged,
    /// Its health changed.
    HealthChanged,
    /// It runs another config.
    EffectiveConfigChanged,
    /// Its word about the remote config changed.
    ConfigStatusChanged,
    /// Its packages changed.
    PackagesChanged,
    /// Its custom capabilities changed.
    CustomCapabilitiesChanged,
    /// Its components changed.
    ComponentsChanged,
    /// Its word about connection settings changed.
    ConnectionSettingsStatusChanged,
    /// It is offered something else.
    OfferChanged,
    /// A config offer went out to it.
    ConfigDelivered,
    /// An offer of packages went out to it.
    PackagesDelivered,
    /// An offer of connection settings went out to it.
    ConnectionSettingsDelivered,
    /// It was asked for a full report.
    FullStateRequested,
    /// Another live agent uses its uid and was given a new one.
    DuplicateDetected,
    /// Operators labelled it otherwise.
    LabelsChanged,
    /// It comes in otherwise, or its credentials are others.
    CredentialChanged,
    /// It sent a custom message.
    CustomMessageReceived,
    /// It shows signs of a restart.
    Restarted,
    /// A command that waits for its polls went on.
    CommandChanged,
    /// Its record was deleted.
    Forgotten,
}
