//! A connection that forgets: what an answer and its request left in its buffers is overwritten before it waits in the
//! pool. (What the allocator frees is overwritten there; a pooled connection frees nothing.)

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::secret::wipe;

/// The last link of a chain of connectors.
#[derive(Debug)]
pub(super) struct WipingConnector;

impl<In: Transport> Connector<In> for WipingConnector {
    type Out = Wiping<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(chained.map(Wiping))
    }
}

#[derive(Debug)]
pub(super) struct Wiping<T>(T);

impl<T: Transport> Transport for Wiping<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.0.await_input(timeout)
    }

    /// Asked when the connection is given back, and again when it is taken from the pool.
    fn is_open(&mut self) -> bool {
        let buffers = self.0.buffers();
        if buffers.input().is_empty() {
            wipe(buffers.input_append_buf());
            wipe(buffers.output());
        }
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}
