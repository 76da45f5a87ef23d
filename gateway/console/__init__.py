"""The console: what people look at, as pages without a build step; `page/` is the browser's."""
