//! Administration of RDS around backups: promoting a restored database to production ([`promote`]), deleting
//! temporary resources of drctl ([`cleanup`]), replicating automated backups ([`replicate`]).

pub mod cleanup;
pub mod promote;
pub mod replicate;
