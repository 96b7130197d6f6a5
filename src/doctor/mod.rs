//! Can this host do what its policy asks? Findings with severity and remedy.
