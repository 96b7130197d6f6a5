//! drctl against real servers: one module a topic.

#[path = "../support/mod.rs"]
mod support;

mod base;
mod by_hand;
mod catalog;
mod copies_steps;
mod demo;
mod first_day;
mod incident_damage;
mod incident_full;
mod incident_hosts;
mod incident_interrupted;
mod incident_kill;
mod incident_memory;
mod incident_refused;
mod incident_steps;
mod incident_store;
mod incremental;
mod logical;
mod rds_backup;
mod rds_double;
mod rds_double_clusters;
mod rds_moto;
mod rds_promote;
mod rds_restore;
mod rds_upkeep;
mod recovery;
mod recovery_borders;
mod recovery_point;
mod recovery_point_care;
mod recovery_point_doctor;
mod recovery_point_plan;
mod recovery_point_restore;
mod recovery_promoted;
mod reference_policies;
mod restore;
mod roundtrip;
mod secrets;
mod upkeep;
mod wal;
mod wal_configure;
mod wal_cost;
mod wal_lost;
mod wal_stream;
