//! What is at risk: what can be restored, against the objectives of the policy.

pub mod assess;
