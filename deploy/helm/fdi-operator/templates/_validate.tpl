{{/* What the schema cannot say, or cannot explain. Included once, from the Deployment. */}}
{{- define "fdi-operator.validate" -}}
{{- $label := "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" }}
{{- range .Values.watchNamespaces }}
{{- if not (regexMatch $label .) }}
{{- fail (printf "watchNamespaces: %q is no name of a namespace: lower-case letters, digits and hyphens, at most 63" .) }}
{{- end }}
{{- end }}
{{- range .Values.allowedEndpoints }}
{{- if not (regexMatch "^https?://[^/]+$" .) }}
{{- fail (printf "allowedEndpoints: %q must be https://HOST or https://HOST:PORT, without a path" .) }}
{{- end }}
{{- if and (hasPrefix "http://" .) (not $.Values.allowInsecureEndpoints) }}
{{- fail (printf "allowedEndpoints: %q would send credentials in clear text: use https://, or set allowInsecureEndpoints for a simulator" .) }}
{{- end }}
{{- end }}
{{- with .Values.image.digest }}
{{- if not (regexMatch "^sha256:[0-9a-f]{64}$" .) }}
{{- fail (printf "image.digest: %q must be sha256: and 64 hexadecimal digits; a tag belongs into image.tag" .) }}
{{- end }}
{{- end }}
{{- if and (not .Values.leaderElection.enabled) (gt (int .Values.replicas) 1) }}
{{- fail "replicas: without leaderElection.enabled every replica would send calls: set replicas to 1" }}
{{- end }}
{{- if and .Values.metrics.podMonitor.enabled .Values.metrics.serviceMonitor.enabled }}
{{- fail "metrics: podMonitor and serviceMonitor would scrape each pod twice: enable one of them" }}
{{- end }}
{{- if not .Values.metrics.service }}
{{- if .Values.metrics.serviceMonitor.enabled }}
{{- fail "metrics.serviceMonitor: it selects the Service, so it needs metrics.service; podMonitor works without" }}
{{- end }}
{{- if .Values.tests.image }}
{{- fail "tests.image: the test pod requests the Service, so it needs metrics.service" }}
{{- end }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egressPorts) }}
{{- fail "networkPolicy.egressPorts: without a port the operator reaches neither the API server nor FDI; networkPolicy.enabled=false leaves the policy out" }}
{{- end }}
{{- if .Values.nameSuffix }}
{{- if not .Values.watchNamespaces }}
{{- fail "nameSuffix: a second release must watch other namespaces than the first: set watchNamespaces" }}
{{- end }}
{{- if not (regexMatch "^[a-z0-9-]{0,39}[a-z0-9]$" .Values.nameSuffix) }}
{{- fail (printf "nameSuffix: %q must end names: lower-case letters, digits and hyphens, at most 40, such as -billing" .Values.nameSuffix) }}
{{- end }}
{{- end }}
{{- end }}
