//! The calls that wait.

use bytemuck::Pod;
use ipc_core::os::Until;

use super::{Consumer, Producer};
use crate::ring::waiting::{self, forms, slot_forms};
use crate::ring::{PopWaitError, PushWaitError, Trust};

slot_forms!(mpmc, waiting::wait);
