// SPDX-License-Identifier: Apache-2.0 OR MIT
// libselinux hands its messages to a variadic function, which Rust cannot define: this one formats them.

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void slipstream_selinux_message(const char *text);

int slipstream_selinux_log(int type, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	int saved = errno;

	(void)type;
	// vsnprintf may fail and write nothing.
	text[0] = '\0';
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	slipstream_selinux_message(text);
	errno = saved;
	return 0;
}
