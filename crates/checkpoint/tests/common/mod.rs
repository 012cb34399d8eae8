//! What several tests need, and the fuzz targets.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod bytes;
pub mod cuts;
pub mod read_all;
