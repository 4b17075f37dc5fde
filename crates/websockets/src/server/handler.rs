//! Handlers: a handler is a plain `async fn`, passed by name.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tungstenite::http::HeaderMap;

use super::{Request, Response};
use crate::{Result, Socket};

/// A handler of conversations: an `async fn` that takes the socket, and if it needs them, the
/// request that opened the connection and a state that all connections share.
///
/// ```
/// use std::sync::Arc;
/// use websockets::{Request, Result, Socket};
///
/// async fn one(socket: &mut Socket) -> Result<()> { Ok(()) }
/// async fn two(socket: &mut Socket, request: Request) -> Result<()> { Ok(()) }
/// // For `serve_with` and `with`; a clone of the state is passed to each connection.
/// async fn three(socket: &mut Socket, state: Arc<str>) -> Result<()> { Ok(()) }
/// async fn four(socket: &mut Socket, request: Request, state: Arc<str>) -> Result<()> { Ok(()) }
/// ```
///
/// You do not implement this trait yourself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "this function cannot be a handler",
    note = "a handler looks like `async fn hello(socket: &mut Socket) -> websockets::Result<()>`",
    note = "if it needs them, its next arguments are `request: Request` and then the state, in this order",
    note = "the state is passed by `serve_with(state, hello)`, elsewhere by `with(state, hello)`",
    note = "its future must be `Send`: it may not hold an `Rc` or a `std::sync::MutexGuard` across an `.await`"
)]
pub trait Handler<State, Arguments>: Sized + Send + Sync + 'static {
    #[doc(hidden)]
    fn boxed(self, state: State) -> BoxedHandler;
}

/// A handler whose type is erased. Its future is boxed, because the future of an
/// `async fn(&mut Socket)` has no name. That costs one allocation for each connection.
#[doc(hidden)]
pub type BoxedHandler =
    Arc<dyn for<'a> Fn(&'a mut Socket, Request) -> BoxFuture<'a, Result<()>> + Send + Sync>;

// In each implementation, the last type parameter names the arguments. It keeps them apart.

impl<F> Handler<(), (Socket,)> for F
where
    F: for<'a> AsyncCall<(&'a mut Socket,), Output = Result<()>>,
{
    fn boxed(self, (): ()) -> BoxedHandler {
        Arc::new(move |socket, _| Box::pin(self.call_with((socket,))))
    }
}

impl<F> Handler<(), (Socket, Request)> for F
where
    F: for<'a> AsyncCall<(&'a mut Socket, Request), Output = Result<()>>,
{
    fn boxed(self, (): ()) -> BoxedHandler {
        Arc::new(move |socket, request| Box::pin(self.call_with((socket, request))))
    }
}

impl<F, S: Clone + Send + Sync + 'static> Handler<S, (Socket, S)> for F
where
    F: for<'a> AsyncCall<(&'a mut Socket, S), Output = Result<()>>,
{
    fn boxed(self, state: S) -> BoxedHandler {
        Arc::new(move |socket, _| Box::pin(self.call_with((socket, state.clone()))))
    }
}

impl<F, S: Clone + Send + Sync + 'static> Handler<S, (Socket, Request, S)> for F
where
    F: for<'a> AsyncCall<(&'a mut Socket, Request, S), Output = Result<()>>,
{
    fn boxed(self, state: S) -> BoxedHandler {
        Arc::new(move |socket, request| Box::pin(self.call_with((socket, request, state.clone()))))
    }
}

/// Combines a handler with the state that all its connections share, for
/// [`serve_on`](crate::Server::serve_on) and `bridge`, or a function with its state for
/// [`process_request`](crate::Server::process_request).
pub fn with<State, F>(state: State, function: F) -> With<State, F> {
    With(state, function)
}

/// A function and its state. See [`with`].
#[derive(Clone, Debug)]
pub struct With<State, F>(State, F);

impl<F, S, Arguments> Handler<(), With<S, Arguments>> for With<S, F>
where
    F: Handler<S, Arguments>,
    S: Send + Sync + 'static,
{
    fn boxed(self, (): ()) -> BoxedHandler {
        self.1.boxed(self.0)
    }
}

/// A function that sees each request before it is answered. See
/// [`Server::process_request`](crate::Server::process_request).
///
/// You do not implement this trait yourself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot process requests",
    label = "this function has other arguments or another result",
    note = "it looks like `async fn check(request: &mut Request) -> Option<Response>`",
    note = "if it needs them, its next arguments are `headers: &mut HeaderMap` and then the state, in this order",
    note = "the state is passed by `process_request(with(state, check))`"
)]
pub trait ProcessRequest<Arguments>: Send + Sync + 'static {
    #[doc(hidden)]
    fn boxed(self) -> BoxedProcessRequest;
}

/// A function whose type is erased.
#[doc(hidden)]
pub type BoxedProcessRequest = Arc<
    dyn for<'a> Fn(&'a mut Request, &'a mut HeaderMap) -> BoxFuture<'a, Option<Response>>
        + Send
        + Sync,
>;

impl<F> ProcessRequest<(Request,)> for F
where
    F: for<'a> AsyncCall<(&'a mut Request,), Output = Option<Response>>,
{
    fn boxed(self) -> BoxedProcessRequest {
        Arc::new(move |request, _| Box::pin(self.call_with((request,))))
    }
}

impl<F> ProcessRequest<(Request, HeaderMap)> for F
where
    F: for<'a> AsyncCall<(&'a mut Request, &'a mut HeaderMap), Output = Option<Response>>,
{
    fn boxed(self) -> BoxedProcessRequest {
        Arc::new(move |request, headers| Box::pin(self.call_with((request, headers))))
    }
}

impl<F, S: Clone + Send + Sync + 'static> ProcessRequest<(Request, S)> for With<S, F>
where
    F: for<'a> AsyncCall<(&'a mut Request, S), Output = Option<Response>>,
{
    fn boxed(self) -> BoxedProcessRequest {
        Arc::new(move |request, _| Box::pin(self.1.call_with((request, self.0.clone()))))
    }
}

impl<F, S: Clone + Send + Sync + 'static> ProcessRequest<(Request, HeaderMap, S)> for With<S, F>
where
    F: for<'a> AsyncCall<(&'a mut Request, &'a mut HeaderMap, S), Output = Option<Response>>,
{
    fn boxed(self) -> BoxedProcessRequest {
        Arc::new(move |request, headers| {
            Box::pin(self.1.call_with((request, headers, self.0.clone())))
        })
    }
}

/// A function that returns a `Send` future. With `for<'a>` before it, the compiler can check that
/// for an `async fn` whose arguments are borrowed.
#[doc(hidden)]
pub trait AsyncCall<Arguments>: Send + Sync + 'static {
    type Output;
    type Future: Future<Output = Self::Output> + Send;
    fn call_with(&self, arguments: Arguments) -> Self::Future;
}

macro_rules! async_call {
    ($($name:ident: $argument:ident),+) => {
        impl<F, R, $($argument),+> AsyncCall<($($argument,)+)> for F
        where
            F: Fn($($argument),+) -> R + Send + Sync + 'static,
            R: Future + Send,
        {
            type Output = R::Output;
            type Future = R;

            fn call_with(&self, ($($name,)+): ($($argument,)+)) -> R {
                self($($name),+)
            }
        }
    };
}

async_call!(a: A);
async_call!(a: A, b: B);
async_call!(a: A, b: B, c: C);
