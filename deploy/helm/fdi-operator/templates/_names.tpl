{{/* Names are fixed, not derived from the release: two operators over the same objects would undo each other. */}}
{{- define "fdi-operator.selector" -}}
app.kubernetes.io/name: fdi-operator
app.kubernetes.io/component: controller
{{- end }}

{{- define "fdi-operator.labels" -}}
{{ include "fdi-operator.selector" . }}
app.kubernetes.io/part-of: fdi-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "fdi-operator.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default (printf "v%s" .Chart.AppVersion) }}{{ end }}
{{- end }}

{{/* What the operator needs where it watches. */}}
{{- define "fdi-operator.rules" -}}
- apiGroups: [fdi.romaconnect.dev]
  resources: [fdiinstances]
  verbs: [list, watch]
- apiGroups: [fdi.romaconnect.dev]
  resources: [fditaskgroups]
  verbs: [list, watch, patch]
- apiGroups: [fdi.romaconnect.dev]
  resources: [fdiinstances/status, fditaskgroups/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "fdi-operator.subject" -}}
- kind: ServiceAccount
  name: {{ .Values.serviceAccount.name }}
  namespace: {{ .Release.Namespace }}
{{- end }}
