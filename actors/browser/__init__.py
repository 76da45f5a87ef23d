"""A headless browser that shows WhatsApp Web: the only home of pyppeteer."""
