//! What the tests stand on: real servers, started for one test and gone with it.
//!
//! Everything here returns [`Outcome`]: a missing server fails the test that needs it, with words that say
//! how to get it.
#![allow(dead_code, reason = "each test binary uses another part of it")]

pub(crate) mod alertmanager;
pub(crate) mod archiving;
pub(crate) mod authority;
pub(crate) mod backup_vaults;
pub(crate) mod browser;
pub(crate) mod chroma;
pub(crate) mod classboard;
pub(crate) mod cluster_template;
pub(crate) mod drills;
pub(crate) mod fake_source;
pub(crate) mod fault_proxy;
pub(crate) mod ledger;
pub(crate) mod mail;
pub(crate) mod moto;
pub(crate) mod pooler;
pub(crate) mod postgres;
pub(crate) mod prometheus;
pub(crate) mod r2;
pub(crate) mod radosgw;
pub(crate) mod rds;
pub(crate) mod receiver;
pub(crate) mod redis;
pub(crate) mod regions;
pub(crate) mod s3;
pub(crate) mod s3_process;
pub(crate) mod school;
pub(crate) mod scratch;
pub(crate) mod secrets_manager;
pub(crate) mod shop;
pub(crate) mod sink;
pub(crate) mod slow_proxy;
pub(crate) mod stores;
pub(crate) mod system;
pub(crate) mod usage;

/// A result whose error is only ever shown.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
