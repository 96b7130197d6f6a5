//! Administration of RDS around backups: putting a restored database in production's place ([`promote`]), removing what
//! drctl made for a limited time ([`cleanup`]), replicating automated backups ([`replicate`]).

pub mod cleanup;
pub mod promote;
pub mod replicate;
