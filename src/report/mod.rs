//! What is read by people and by auditors: renderers of the records of drills. Pure: data in, text out.
//!
//! *Not here.* What a drill does and records: [`crate::drill`]. Tables on a terminal: [`crate::cli`].
