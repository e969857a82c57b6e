//! Frames that the agent image and the suite exchange over one byte channel.
#![no_std]
